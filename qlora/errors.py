"""The one exception for what a user can mend."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one or two sentences for a person: what was expected, what came, and what to do. The command line
    prints it without a traceback and exits with status 2; the page shows it in place. Everything else that is raised
    is a defect of ours and keeps its traceback.
    """
