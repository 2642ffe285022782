"""What can go wrong with a command. Each text is for the person who typed it: what is wrong, and what to
do."""


class ControlError(Exception):
    """A command cannot be carried out. A handler raises it with a text, and the client is told just that."""


class NoBox(ControlError):
    """Nothing is running on that data folder."""


class NotAllowed(ControlError):
    """The box belongs to another user."""


class NoAnswer(ControlError):
    """The box did not answer, not in time, or not in a form that can be understood."""


class Refused(ControlError):
    """The box answered, and the answer is no."""
