"""Who runs a round of tools, told in a store, so that another process can see whether they are still at it."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from typing import Any

LEASE = 900.0
"""Seconds after which a runner on another machine, of whom nothing can be seen, counts as gone."""
_ours: set[str] = set()
"""The rounds that run in this process; sets change in one step, whatever thread does it."""


def begin(seconds: float | None = None) -> dict[str, Any]:
    """Give a JSON-safe dict by which others know this process and this round, for *seconds* at most."""
    token = os.urandom(16).hex()
    _ours.add(token)
    pid = os.getpid()
    until = None if seconds is None else time.time() + seconds
    return {
        "token": token,
        "host": platform.node(),
        "pid": pid,
        "began": _began(pid),
        "at": time.time(),
        "until": until,
    }


def end(runner: Mapping[str, Any] | None) -> None:
    """Tell that the round of *runner*, which :func:`begin` gave, is over."""
    if runner is not None:
        _ours.discard(runner["token"])


def at_it(runner: Any) -> bool:
    """Tell whether the round of *runner*, which another may have begun, may still be running."""
    try:
        token, host, pid = str(runner["token"]), runner["host"], int(runner["pid"])
        began, at, until = runner["began"], float(runner["at"]), runner["until"]
        if until is not None and time.time() > float(until):
            return False
    except (TypeError, KeyError, ValueError):
        return False
    if host == platform.node() and pid == os.getpid() and began == _began(pid):
        return token in _ours
    if _is_seen(host):
        return _lives(pid) and began == _began(pid)
    return time.time() - at < LEASE


def is_gone(runner: Mapping[str, Any]) -> bool:
    """Tell whether the process of *runner*, which :func:`begin` gave, was on this machine and is no more."""
    pid = int(runner["pid"])
    return _is_seen(runner["host"]) and not (_lives(pid) and runner["began"] == _began(pid))


def _is_seen(host: Any) -> bool:
    return bool(host == platform.node()) and sys.platform != "win32"  # there, signal 0 is no question but a Ctrl-C


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _began(pid: int) -> str | None:
    """Give what tells a process from a later one with its number, where the system shows it (proc(5), field 22)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
