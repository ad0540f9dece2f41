"""Errors that a user can act on, each with the exit code that the command line ends with."""


class MsmError(Exception):
    """Base of every error we raise on purpose. The message says what is wrong, where, and what to do."""

    exit_code = 1


class StageError(MsmError):
    """A stage failed while it ran."""

    exit_code = 1


class SettingsError(MsmError):
    """The command line, the experiment file or a spec is wrong."""

    exit_code = 2


class PreflightError(MsmError):
    """The machine cannot run this: no GPU, no room, no credentials, a port in use."""

    exit_code = 3


class QualityGateError(MsmError):
    """What was made is not good enough to go on with."""

    exit_code = 4
