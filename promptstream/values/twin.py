"""An exception in, another like it without the frames, causes and contexts it came through, out."""

from __future__ import annotations

from typing import Any, TypeVar

Error = TypeVar("Error", bound=BaseException)


def twin(error: Error) -> Error:
    """Copy *error* by its own account of itself. Any thread may call it.

    Not by ``copy.copy``, which asks copyreg first: once Dask is imported, tblib has put a way for every exception there
    that takes along the traceback, and with it the frames that hold a turn, and loses what a few are made of.

    Raises:
        Exception: whatever a class raises that cannot be made of its own arguments.
    """
    reduced: Any = error.__reduce_ex__(4)
    make, arguments, *state = reduced
    made: Error = make(*arguments)
    if state and state[0]:
        made.__setstate__(state[0])
    return made
