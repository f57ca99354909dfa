"""Why the service does not start, in one line each; the command line maps them to exit codes."""


class StartError(Exception):
    """Something that the user can mend; the text says what and how."""


class KernelSupportError(StartError):
    """The kernel, the host or the privilege required is lacking (exit code 3)."""


class AlreadyRunning(StartError):
    """Another instance holds this run folder (exit code 2)."""
