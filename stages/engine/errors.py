"""The one error a user can cause and mend."""


class InputError(ValueError):
    """A fault in what the user gave: a file, a parameter, a folder.

    Its message is ONE line that names the file or parameter, the fault and what to do; command lines print that line
    and exit with status 1. Line breaks, as a file's name or content may bring them into the message, become spaces.
    """

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).splitlines()))
