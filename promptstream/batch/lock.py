"""An open file in, the word that nobody else has it out."""

from __future__ import annotations

import os
import sys
import weakref
from io import FileIO

_FAR = 1 << 40
"""Where Windows locks a byte: behind all that a file holds, which others may read meanwhile."""
_taken: weakref.WeakSet[FileIO] = weakref.WeakSet()


def take(file: FileIO) -> bool:
    """Lock *file* until it is closed; False where another has it locked, in this process or in any other.

    The lock is not inherited: of a process that was killed, no child keeps it.
    """
    try:
        _lock(file)
    except (BlockingIOError, PermissionError):
        return False
    _taken.add(file)
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _leave() -> None:
    for file in list(_taken):
        file.close()


if hasattr(os, "register_at_fork"):  # a forked worker that lives on would keep the file locked
    os.register_at_fork(after_in_child=_leave)
