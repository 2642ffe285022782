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
    revision 1, section 2 (see `reasons`). `detail` is for the log: it says more where more is known, and
    quotes nothing of what was sent.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
