"""The errors of this room: whose fault it was decides which one is raised."""


class WireError(Exception):
    """Anything that the protocol library raises."""


class LocalProtocolError(WireError):
    """This program asked for something that TMTP does not allow here. It is a bug on our side, never the
    peer's.
    """


class RemoteProtocolError(WireError):
    """The other side sent octets that TMTP does not allow. The link is of no further use.

    `reason` is what to tell the other side in a quit: for what clients send, word for word one of TMTP
    revision 1, section 2 (see `reasons`).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
