"""A kind of file in, the folder where the platform keeps such files for this user out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

_XDG = {
    "cache": ("XDG_CACHE_HOME", ".cache"),
    "config": ("XDG_CONFIG_HOME", ".config"),
    "data": ("XDG_DATA_HOME", ".local/share"),
}
_MAC = {"cache": "Library/Caches", "config": "Library/Application Support", "data": "Library/Application Support"}


def user_folder(kind: Literal["cache", "config", "data"]) -> Path:
    """Give the folder for what can be fetched again ("cache"), is set ("config") or kept ("data"); nothing is made.

    Raises:
        RuntimeError: this user has no home folder.
    """
    base: str | Path
    if sys.platform == "win32":
        variable, folder = ("APPDATA", "Roaming") if kind == "config" else ("LOCALAPPDATA", "Local")
        base = os.environ.get(variable) or Path.home() / "AppData" / folder
    elif sys.platform == "darwin":
        base = Path.home() / _MAC[kind]
    else:
        variable, below_home = _XDG[kind]
        given = os.environ.get(variable, "")
        base = given if os.path.isabs(given) else Path.home() / below_home  # the XDG specification ignores others
    return Path(base) / "promptstream"
