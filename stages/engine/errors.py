"""The error that a user can cause and mend."""


class InputError(ValueError):
    """A fault in the user's input: a file, a parameter or a folder.

    The message is one line that names the file or parameter, the fault and what to do. Commands print this line and
    exit with status 1. Line breaks become spaces, because a file's name or content may bring them into the message.
    """

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).splitlines()))
