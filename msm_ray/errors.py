"""Errors that a user can act on, each with the exit code that the command line ends with, and the command that goes on."""

import errno
import shlex
import sys
from pathlib import Path


class MsmError(Exception):
    """Base of every error we raise on purpose. The message says what is wrong, where, and what to do."""

    exit_code = 1


class StageError(MsmError):
    """A stage failed while it ran."""

    exit_code = 1


class OutOfMeans(StageError):
    """A spent quota, refused credentials, a full disk: no other stage would fare better, so the whole run stops."""


class SettingsError(MsmError):
    """The command line, the experiment file or a spec is wrong."""

    exit_code = 2


class PreflightError(MsmError):
    """The machine cannot run this: no GPU, no room, no credentials, a port in use."""

    exit_code = 3


class QualityGateError(MsmError):
    """What was made is not good enough to go on with."""

    exit_code = 4


def kind_of(error: MsmError | OSError) -> str:
    """The class, by name, as which an error goes from a worker to the run (`of_kind`): what Ray raises is wrapped and cut."""
    own = type(error) if isinstance(error, MsmError) else StageError
    return (OutOfMeans if no_room(error) else own).__name__


def of_kind(kind: str, said: str) -> MsmError:
    """The error that a worker told; one of a class that is not ours to know is a StageError."""
    error: MsmError = globals().get(kind, StageError)(said)
    return error


def command_line() -> str:
    """The command as the user typed it, for "the same command goes on"."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def no_room(error: BaseException | None) -> str:
    """Says that a disk is full, where that is what is behind an error; else an empty text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no room left on the disk ({error.filename or error.strerror})"
        error = error.__cause__ or error.__context__
    return ""
