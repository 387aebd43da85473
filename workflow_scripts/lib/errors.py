"""The one error that means "your input, not our code"."""


class InputError(ValueError):
    """Bad input. The message names the file or config key and says how to mend it.

    Jobs print the message alone, without a traceback (`workflow_scripts.lib.job`).
    """


class Impossible(InputError):
    """A method that cannot work on what it is given, such as too few negatives or images.

    A study records it as a missing value with this reason, and goes on.
    """


def reason(error):
    """What an exception says, in one line of at most 500 characters."""
    return " ".join(str(error).split())[:500]
