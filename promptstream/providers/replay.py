"""A recording in, its answers played back to the requests that they were given to: without a key or a network."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from os import PathLike
from time import monotonic
from typing import Any, Literal

from promptstream.errors import ConfigError, ProviderError, Unsupported
from promptstream.providers.base import Dialect
from promptstream.recording.asked import COMPARED, check_match, differences, request_to_dict, told
from promptstream.recording.masking import Masker, check_hooks
from promptstream.recording.reading import Exchange, Recording, names
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.request import Call, ChatRequest
from promptstream.values.secret import Secret
from promptstream.wire.watch import Watch
from promptstream.wire.watchdog import FOREVER

_CAPABILITIES = (
    "streaming",
    "completion",
    "tools",
    "reasoning",
    "images",
    "documents",
    "json_schema",
    "model_fallback",
)
_ENDED = {
    "left": "the loop was left here when it was recorded",
    "open": "whoever recorded it was cut off here",
}


class ReplayDialect(Dialect):
    """Play what a Recorder has written.

    Each exchange is played once, to the first request that equals its own: the same model, messages, tools and
    parameters. Chunks, endings, errors, usage, cost and names are those that were recorded, so that the Response is
    the same but for its timing. Timeouts and cancels hold as on a wire; nothing is tried again.

    Args:
        path: the file.
        speed: how fast: 1 takes the time that the provider took, 2 half of it; None waits for nothing.
        match: what of a request is compared ("model", "messages", "prompt", "tools", "parameters", "extra",
            "streaming", "provider"); or "order": the first request gets the first exchange, whatever it asks.
        redact: the functions that the Recorder was given; both requests are compared after them.
        model: the model that is asked where a call names none; else the recorded one, where there is just one.
        provider: play only what was asked of this one.

    Raises:
        ConfigError: the file cannot be read, is no recording, is damaged or of a newer format; or an option is wrong.
    """

    name = "replay"
    default_model = ""
    framing: Literal["sse", "ndjson"] = "sse"
    tells_cost = True
    extras = frozenset({"requests", "unplayed"})
    queries: frozenset[str] = frozenset()
    keepalives: frozenset[str] = frozenset()
    secret = Secret("")
    advice = "If that is meant to be asked, record it again."
    """What errors say to do about a request that was not recorded."""

    def __init__(
        self,
        path: str | PathLike[str] | Recording | None = None,
        *,
        speed: float | None = None,
        match: str | Iterable[str] = COMPARED,
        redact: Callable[[str], str] | Iterable[Callable[[str], str]] | None = None,
        model: str | None = None,
        provider: str | None = None,
    ) -> None:
        if path is None:
            raise ConfigError("replay needs the path of a recording: provider=promptstream.providers.Replay(path).")
        if speed is not None and not _is_speed(speed):
            raise ConfigError(f"speed={speed!r:.40}: give a number above 0, such as 1.0, or None for no waiting.")
        self._match = check_match(match)
        self._masker = Masker(check_hooks(redact))
        self._speed = speed
        self.recording = path if isinstance(path, Recording) else Recording.read(path)
        self._left = [each for each in self.recording.exchanges if provider in (None, each.provider)]
        self._played: list[Exchange] = []
        self.requests: list[ChatRequest] = []
        self._lock = threading.Lock()
        asked = names(tuple(self._left))
        known = [self.recording.providers.get(name, {}) for name in asked]
        self.name = provider or (asked[0] if len(asked) == 1 and asked[0] else "replay")
        models = {each.model for each in self._left}
        self.title = f"A replay of {self.name}" if asked else "A replay"
        self.model = model or (models.pop() if len(models) == 1 else "") or str((known or [{}])[0].get("model", ""))
        self.free = bool(known) and all(each.get("free") for each in known)
        self.base_url = "http://127.0.0.1" if known and all(each.get("local") for each in known) else None
        told_of = {str(can) for each in known for can in each.get("capabilities") or ()}
        self.capabilities = frozenset(told_of - {"models"} or _CAPABILITIES)

    @property
    def unplayed(self) -> int:
        """How many of the recorded exchanges nobody has asked for yet."""
        return len(self._left)

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield the chunks that the request was answered with.

        Raises:
            ConfigError: there is no answer to it; the text says what differs from the nearest.
            PromptStreamError: as it was recorded.
        """
        return self.play_exchange(self._taken(request), request, watch)

    def _taken(self, request: ChatRequest) -> Exchange:
        exchange = self.take(request)
        if exchange is None:
            raise ConfigError(self._unknown(request))
        return exchange

    def take(self, request: ChatRequest) -> Exchange | None:
        """Give the exchange for *request*, which is not played again; None where there is none."""
        with self._lock:
            self.requests.append(request)
            for exchange in self._left:
                if self._match is None or not self._differences(exchange, request):
                    self._left.remove(exchange)
                    self._played.append(exchange)
                    return exchange
        return None

    def _differences(self, exchange: Exchange, request: ChatRequest) -> list[Any]:
        asked = request_to_dict(request, Masker())
        return differences(exchange.request, asked, self._match or COMPARED, self._masker)

    def _unknown(self, request: ChatRequest) -> str:
        path, left, played = self.recording.path, self._left, self._played
        if not (left or played):
            return f"{path}: nothing was recorded of {self.name}. {self.advice}"
        if not left:
            count = "the one answer" if len(played) == 1 else f"all {len(played)} answers"
            twice = self._match is not None and any(not self._differences(each, request) for each in played)
            what = "; the same was asked before, and answered" if twice else ""
            return f"{path}: {count} of the recording were played, and this is another request{what}. {self.advice}"
        found = [(self._differences(each, request), each) for each in left]
        least, nearest = min(found, key=lambda pair: (len(pair[0]), -sum(each.parted for each in pair[0])))
        return (
            f"{path}: nothing was recorded for this request. It differs from exchange {nearest.number} "
            f"(line {nearest.line}), the nearest:\n{told(least)}\n{self.advice}"
        )

    def play_exchange(self, exchange: Exchange, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield the chunks of *exchange*, each in its time."""
        watch.sending()
        yield from self._named(exchange, request)
        at, finished, paid = 0.0, False, False
        for moment, chunk in exchange.chunks:
            self._wait(moment - at, watch)
            at = moment
            if isinstance(chunk, Finish):
                finished = (finished and not chunk.restart) or chunk.reason is not None or chunk.sentinel
                paid = paid or chunk.cost is not None
            yield from _handed_out(chunk, watch)
        self._wait(exchange.at - at, watch)
        watch.due = FOREVER
        if exchange.cost is not None and not paid:
            yield Finish(cost=exchange.cost)
        if exchange.error is not None:
            raise exchange.error()
        if exchange.ending in _ENDED and not finished:
            raise ConfigError(
                f"{self.recording.path}, line {exchange.line}: the answer to this request ends early, "
                f"for {_ENDED[exchange.ending]}. Record it again."
            )

    def _named(self, exchange: Exchange, request: ChatRequest) -> Iterator[Chunk]:
        """Say whose answer it is, where it is not that of the provider that this one goes by the name of."""
        free = bool(self.recording.providers.get(exchange.provider, {}).get("free"))
        if request.round == 1 and exchange.provider and (exchange.provider, free) != (self.name, self.free):
            cost = Decimal(0) if free else None
            yield Finish(restart=True, provider=exchange.provider, model=exchange.model or None, cost=cost)

    def _wait(self, seconds: float, watch: Watch) -> None:
        if self._speed is not None and seconds > 0:
            watch.sleep(seconds / self._speed, clocks=True)

    def encode(self, request: ChatRequest) -> Call:
        """Raise: a recording has no wire."""
        raise Unsupported("replay sends nothing.")

    def decode(self, events: Any) -> Iterator[Chunk]:
        """Raise: a recording has no wire."""
        raise Unsupported("replay receives nothing.")

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Raise: a recording has no wire."""
        raise Unsupported("replay receives nothing.")

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Raise: a recording has no wire."""
        raise Unsupported("replay receives nothing.")


def _is_speed(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 and math.isfinite(value)


def _handed_out(chunk: Chunk, watch: Watch) -> Iterator[Chunk]:
    """Yield a chunk. The clocks stand still meanwhile; what tells of no event of the answer feeds none of them."""
    since, due, watch.due = monotonic(), watch.due, FOREVER
    silent = isinstance(chunk, Finish) and chunk.reason is None and not (chunk.sentinel or watch.events)
    if not silent:
        if chunk.type.__class__ is ChunkType or isinstance(chunk, Finish):
            watch.first_event = watch.first_event or since
        watch.events += 1
    yield chunk
    if isinstance(chunk, Finish) and chunk.restart:
        watch.sending()  # another attempt, which the first event is waited for anew
    elif silent:
        watch.due = due + monotonic() - since
    else:
        watch.due = monotonic() + watch.idle
