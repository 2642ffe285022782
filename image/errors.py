"""What a person can do something about."""


class ImageError(Exception):
    """Building, flashing or booting cannot go on; the text says what is wrong and what to do."""
