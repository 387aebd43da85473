"""The one error that means "your input, not our code"."""


class InputError(ValueError):
    """Bad input. The message names the file or config key and says how to mend it.

    Jobs print the message alone, without a traceback (`workflow_scripts.lib.job`).
    """


def reason(error):
    """What an exception says, in one line of at most 500 characters."""
    return " ".join(str(error).split())[:500]
