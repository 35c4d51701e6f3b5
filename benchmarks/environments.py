"""A peer's name and requirements in, the interpreter of an environment of its own out, made once and kept.

Peers pin what other peers, and promptstream, would have otherwise. So each has its own; what is measured in it may
import this package, which needs nothing but Python, and the peer. They lie in the user's cache, or in
``PROMPTSTREAM_BENCH_ENVIRONMENTS``, and are made anew where the requirements or the Python change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PATIENCE = 600.0
"""Seconds that an installation may take."""
_PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"
_WHOLE = "requirements.txt"
"""Written last: what was interrupted is made anew."""


class NotInstalled(RuntimeError):
    """A peer's environment cannot be made here; the text says why, in one line."""


def interpreter(name: str, *requirements: str) -> str:
    """Give the path of a Python that has *requirements*; makes it where there is none yet, which takes a while.

    Raises:
        NotInstalled: it cannot be made.
    """
    if made := found(name, *requirements):
        return made
    folder, asked = _folder(name, requirements)
    print(f"{name}: installing {', '.join(requirements)} into {folder}", file=sys.stderr, flush=True)
    try:
        python = _make(folder, requirements)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotInstalled(f"{name}: left out, it does not install ({_reason(error)})") from None
    (folder / _WHOLE).write_text(asked, encoding="utf-8")
    return python


def found(name: str, *requirements: str) -> str | None:
    """Give the path of a Python that has *requirements* if it is made already."""
    folder, _ = _folder(name, requirements)
    return str(folder / _PYTHON) if (folder / _WHOLE).is_file() else None


def versions(python: str, *packages: str) -> dict[str, str]:
    """Give the versions of *packages* in the environment of *python*."""
    told = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.run([python, "-c", told, *packages], check=True, capture_output=True, text=True)
    return dict(zip(packages, found.stdout.split(), strict=True))


def _root() -> Path:
    named = os.environ.get("PROMPTSTREAM_BENCH_ENVIRONMENTS")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(cache) / "promptstream-benchmarks"


def _folder(name: str, requirements: tuple[str, ...]) -> tuple[Path, str]:
    """Give an environment's folder, and what it is made of."""
    asked = "\n".join((sys.version, *sorted(requirements)))
    return _root() / f"{name}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}", asked


def _make(folder: Path, requirements: tuple[str, ...]) -> str:
    """Make it with uv, which takes seconds, where it is installed and reaches its index; else with pip."""
    python, uv = str(folder / _PYTHON), shutil.which("uv", path=_search())
    if uv:
        venv.create(folder, clear=True)
        try:
            _install([uv, "pip", "install", "--python", python, "--quiet", *requirements])
            return python
        except subprocess.SubprocessError as error:
            print(f"uv: {_reason(error)}; trying pip", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True)
    _install([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
    return python


def _install(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)


def _search() -> str:
    """Give where programs lie, first beside this Python."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return str(said).strip().splitlines()[-1][:200]
