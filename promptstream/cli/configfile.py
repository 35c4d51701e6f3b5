"""The config file: its place, and its text in and out, which nobody else may read or write."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from promptstream.errors import ConfigError
from promptstream.values.folders import user_folder

VARIABLE = "PROMPTSTREAM_CONFIG"
_LARGEST = 1024 * 1024
_OTHERS_WRITE, _OTHERS_READ = 0o022, 0o044


def place() -> Path:
    """Give where the config file is, or would be: ``PROMPTSTREAM_CONFIG``, else in the user's config folder.

    Raises:
        ConfigError: there is no such folder.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    try:
        return user_folder("config") / "config.toml"
    except RuntimeError:
        raise ConfigError(f"This user has no home folder. Set {VARIABLE} to the path of a file.") from None


def read(*, needed: bool = True) -> tuple[str, bool]:
    """Give the file's text, "" where there is none, and whether others can read it.

    Args:
        needed: one that ``PROMPTSTREAM_CONFIG`` names has to be there.

    Raises:
        ConfigError: it cannot be read, is no text, or somebody else may write to it, and so say where keys are sent.
    """
    path = place()
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        if needed and os.environ.get(VARIABLE):
            raise ConfigError(
                f"{VARIABLE} names {path}, which is not there. promptstream config edit makes it."
            ) from None
        return "", False
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if len(data) > _LARGEST:
        raise ConfigError(f"{path} is too large for a config file: over {_LARGEST} bytes.")
    shared = _check_ours(path, about)
    try:
        return data.decode("utf-8-sig"), shared
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8: byte {error.start + 1} cannot be read.") from None


def _check_ours(path: Path, about: os.stat_result) -> bool:
    """Make sure that nobody else says what is in the file, and tell whether others can read it."""
    if os.name != "posix" or not stat.S_ISREG(about.st_mode):
        return False
    if about.st_uid not in (os.getuid(), 0):
        raise ConfigError(
            f"{path} belongs to somebody else, who could have keys sent anywhere. Copy it: cp, then chmod 600."
        )
    if about.st_mode & _OTHERS_WRITE:
        raise ConfigError(
            f"{path} can be written to by others (mode {stat.S_IMODE(about.st_mode):04o}), who could have keys sent "
            f"anywhere. Do: chmod 600 {path}"
        )
    return bool(about.st_mode & _OTHERS_READ)


def write(text: str) -> Path:
    """Put *text* in place of the file, whole or not at all, for nobody else to read; give its path.

    A file that is a link stays one.

    Raises:
        ConfigError: it cannot be written.
    """
    from tempfile import mkstemp

    path = Path(os.path.realpath(place()))
    beside = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is no file that can be written to.")
        handle, beside = mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        if beside is not None:
            with suppress(FileNotFoundError):
                os.unlink(beside)
    return path


def make_private(path: Path) -> None:
    """Let nobody else read *path*, where the platform has such modes."""
    if sys.platform != "win32":
        path.chmod(0o600)
