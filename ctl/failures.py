"""What can go wrong for the person at the keyboard, told in one sentence."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CtlError(Exception):
    """A fault that the user can act on: one clear sentence, and what to do as the hint.

    The command prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 1

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class HomeError(CtlError):
    """The home directory cannot be used as it is."""


class ServerError(CtlError):
    """A server (embedded or given) does not start or does not answer."""


class PortTakenError(CtlError):
    """A port that was asked for is used by another program."""


class AlreadyRunningError(CtlError):
    """Another `up` holds this home."""


class NotRunningError(CtlError):
    """There is no running suite in this home."""


@contextmanager
def disk_faults_told(place: Path) -> Iterator[None]:
    """Turn "no space", "read-only" and "not allowed" on `place` into a `HomeError`; leave the rest alone."""
    try:
        yield
    except OSError as error:
        reason = _DISK_REASONS.get(error.errno or 0)
        if reason is None:
            raise
        where = error.filename or place
        raise HomeError(f"{reason}: {where}.", hint=_DISK_HINT) from error


_DISK_HINT = "Free some space, repair the directory's rights, or choose another place with --home DIR."
_DISK_REASONS = {
    errno.ENOSPC: "There is no space left on the disk of the home",
    errno.EDQUOT: "The disk quota of the home is used up",
    errno.EROFS: "The home lies on a read-only file system",
    errno.EACCES: "The home may not be written by this user",
    errno.EPERM: "The home may not be changed by this user",
    errno.ENOTDIR: "A part of the home's path is not a directory",
    errno.EISDIR: "A directory stands where the home needs a file",
    errno.ENAMETOOLONG: "The path of the home is too long for this file system",
}
