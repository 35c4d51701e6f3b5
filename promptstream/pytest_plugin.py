"""A test in, providers out whose answers are recorded once and replayed ever after; see docs/testing.md.

What pytest itself loads is ``pytest_promptstream``, which imports this when a test uses the fixture.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, Protocol

import attrs

from promptstream.client import Provider
from promptstream.errors import ConfigError, MissingKey
from promptstream.middleware.recorder import Recorder
from promptstream.pricing import Pricing
from promptstream.providers import registry
from promptstream.providers.replay import ReplayDialect
from promptstream.recording.asked import COMPARED, check_match
from promptstream.recording.masking import Hook
from promptstream.recording.reading import Recording
from promptstream.values.chunk import Chunk
from promptstream.values.request import ChatRequest
from promptstream.values.secret import hide
from promptstream.wire.watch import Watch

_LONGEST = 100
"""Characters of a file's name."""
_UNFIT = re.compile(r"[^\w.=+-]+")
Redact = Hook | Iterable[Hook] | None


class Node(Protocol):
    """What is asked of a test: its file, its name among those of the file, and how to run it alone."""

    path: Path
    nodeid: str


class Recordings:
    """Give the providers of one test. Any thread of it may use them."""

    def __init__(self, node: Node, mode: str | None = None) -> None:
        self.path = path_of(node)
        self.mode = mode or ("none" if os.environ.get("CI", "").lower() not in ("", "0", "false") else "once")
        self._node = node
        self._fresh = self.path.with_name(f"{self.path.name}.part")
        """What is being recorded; it takes the recording's place when the test is over."""
        self._recorder: Recorder | None = None
        self._recording: Recording | None = None
        if self.mode != "all" and self.path.exists():
            self._recording = Recording.read(self.path)

    @property
    def replays(self) -> bool:
        """True where answers come from a recording; nothing is sent then but in the mode "new"."""
        return self._recording is not None

    def __call__(
        self,
        provider: str,
        /,
        *,
        match: str | Iterable[str] = COMPARED,
        redact: Redact = None,
        **options: Any,
    ) -> Provider:
        """Give the provider of that name, recorded or replayed.

        Args:
            provider: openai, anthropic, … as :func:`promptstream.providers.get` takes it.
            match: what of a request has to be as recorded, as :func:`promptstream.providers.Replay` takes it.
            redact: what is not to be recorded, as :class:`promptstream.middleware.Recorder` takes it.
            options: what the provider takes besides: ``model``, ``api_key``, ``base_url``, …; to replay, only
                ``model``, ``timeout`` and ``prices`` are used.

        Raises:
            ConfigError, ProviderNotFound, MissingKey: as :func:`promptstream.providers.get`, where it is recorded.
        """
        options = hide(options)
        if not isinstance(provider, str):
            raise ConfigError(f"promptstream_replay({provider!r:.60}): give a provider's name, such as 'openai'.")
        check_match(match)  # also where it is of use in the next run only
        if self._recording is None:
            if self.mode == "none":
                self._missing()
            return _Recorded(registry.get(provider, **options), self._record(redact))
        dialect = ReplayDialect(
            self._recording, match=match, redact=redact, model=options.get("model"), provider=provider
        )
        dialect.advice = f"If that is meant, record it again: {self._command('all')}"
        if self.mode == "new":
            try:
                return _Recorded(registry.get(provider, **options), self._record(redact), dialect)
            except MissingKey as error:  # which is not missed as long as all is recorded
                dialect.advice = f"It cannot be recorded: {error}"
        kept = {name: options[name] for name in ("timeout", "prices") if name in options}
        return Provider(dialect, **kept)

    def _record(self, redact: Redact) -> Recorder:
        if self._recorder is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fresh.unlink(missing_ok=True)
            if self._recording is not None:
                shutil.copyfile(self.path, self._fresh)
            self._recorder = Recorder(self._fresh, append=self._recording is not None)
        self._recorder.redact(redact)  # the providers of a test share its file
        return self._recorder

    def _missing(self) -> NoReturn:
        import pytest

        pytest.fail(
            f"There is no recording of this test ({self.path}), and none is made in CI or with "
            f"--promptstream-record=none. Where there are a network and a key, make it, and commit it: "
            f"{self._command('once')}",
            pytrace=False,
        )

    def _command(self, mode: str) -> str:
        return f"pytest --promptstream-record={mode} {shlex.quote(self._node.nodeid)}"

    def close(self, *, passed: bool | None) -> None:
        """Keep what was recorded where the test has passed, or has failed and all that it asked for came whole.

        *passed* is None of a test that did neither, such as one that was stopped: it had more to ask.
        """
        if not self._fresh.exists() or self._recorder is None:
            return
        endings = {each.ending for each in Recording.read(self._fresh).exchanges}
        if (endings if passed else passed is False and endings == {"whole"}) and not self._recorder.problem:
            os.replace(self._fresh, self.path)
        else:
            self._fresh.unlink()


def path_of(node: Node) -> Path:
    """Give where the recording of a test is: ``recordings/<module>/<test>.ndjson`` beside its file."""
    name = (node.nodeid.partition(".py::")[2] or node.nodeid).replace("::", ".")
    fit = _UNFIT.sub("_", name).strip("_")[:_LONGEST]
    if fit != name:  # which two parameters may have in common
        fit = f"{fit}-{sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return node.path.parent / "recordings" / node.path.stem / f"{fit}.ndjson"


class _Recorded(Provider):
    """Ask the provider that it is made of, and record what comes; first of all, play what was recorded before."""

    def __init__(self, made: Provider, recorder: Recorder, before: ReplayDialect | None = None) -> None:
        vars(self).update(vars(made))
        self._recorder, self._before = recorder, before
        recorder.meet(made, Pricing(made.seller))

    def ask(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Give the chunks of one request, for a turn."""
        exchange = None if self._before is None else self._before.take(request)
        if self._before is not None and exchange is not None:
            return self._before.play_exchange(exchange, request, watch)
        ask = super().ask  # told whom it goes to, which may be the second of a fallback
        record = self._recorder.watched(watch)
        return record(attrs.evolve(request, provider=self.name), lambda asked: ask(asked, watch))
