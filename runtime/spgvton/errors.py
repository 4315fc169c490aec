"""The errors a user may see. Each message is one line that says what is wrong and what to do."""


class SpgvtonError(Exception):
    """Something failed (bad file, missing camera, full disk, ...). The command line prints it and exits 1."""


class UsageError(SpgvtonError):
    """The command was called wrongly. The command line prints it and exits 2."""
