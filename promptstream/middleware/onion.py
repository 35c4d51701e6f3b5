"""A provider's call and the layers around it in, one call with the same promises out.

The chunks that leave are those of the outermost layer. What the provider told beside them (its finish signal,
usage, signatures) is kept on its way in, so that a layer that drops it does no harm; and a layer that ends before
the provider did is told apart from an answer that is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.errors import Cancelled, ConfigError, ProviderError, StateError, StreamError, Truncated
from promptstream.middleware.misuse import close, name_of, no_iterator, problem
from promptstream.middleware.told import SHOWN, Told
from promptstream.values.chunk import Chunk, ChunkType, Finish, Opaque
from promptstream.values.encoding import Halves, encodable, mended_call
from promptstream.values.names import nearest
from promptstream.values.request import ChatRequest
from promptstream.values.response import FINISH_REASONS
from promptstream.values.usage import Usage

if TYPE_CHECKING:
    from promptstream.wire.watch import Watch

CallNext = Callable[[ChatRequest], Iterator[Chunk]]
Middleware = Callable[[ChatRequest, CallNext], Iterator[Chunk]]
Ask = Callable[[ChatRequest, "Watch"], Iterator[Chunk]]


class Watching:
    """A layer that wants to know what stops its turn: the provider's chunks then end without a word, or are left."""

    def watched(self, watch: Watch) -> Middleware:
        """Give the layer for a turn that *watch* guards."""
        raise NotImplementedError


_TEXT = ChunkType.TEXT
_MAKERS = ("Recorder", "guard", "logging", "redact", "telemetry")


def check_layers(layers: Any) -> tuple[Middleware, ...]:
    """Give *layers* as a tuple, the outermost first.

    Raises:
        ConfigError: it is no list, or what it holds cannot be called.
    """
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Iterable):
        hint = " Put it into one: middleware=[…]." if callable(layers) else ""
        raise ConfigError(f"middleware={layers!r:.80}: give a list of callables.{hint}")
    checked = tuple(layers)
    for layer in checked:
        if not callable(layer):
            raise ConfigError(f"middleware: {layer!r:.80} cannot be called; give (request, call_next) -> chunks.")
        name = name_of(layer)
        if name in _MAKERS and str(getattr(layer, "__module__", "")).startswith("promptstream.middleware."):
            raise ConfigError(f"middleware: {name} makes a middleware and is none itself; write middleware.{name}().")
    return checked


def finish(reason: str = "stop", *, usage: Usage | None = None, model: str | None = None) -> Chunk:
    """Give the chunk by which a middleware says that the answer ends here, and why.

    It is needed where a middleware stops reading before the provider is done; one that read on to the end, or that
    never asked, may leave it out.

    Raises:
        ConfigError: *reason* is not one of stop, length, tool_calls, content_filter, refusal, cancelled, other.
    """
    if reason not in FINISH_REASONS:
        known = ", ".join(FINISH_REASONS)
        raise ConfigError(f"finish({reason!r:.60}): give one of {known}.{nearest(str(reason), FINISH_REASONS)}")
    return Finish(reason=reason, usage_seen=usage, model=model)


def layered(ask: Ask, layers: Sequence[Middleware]) -> Ask:
    """Give *ask* with *layers* around it, the first outermost; *ask* itself where there are none."""
    around = tuple(layers)
    if not around:
        return ask
    return lambda request, watch: _Onion(ask, around, watch).answer(request)


def introduce(layers: Sequence[Middleware], providers: Sequence[Any], pricing: Any) -> None:
    """Tell the layers that want to know, by a method ``meet``, which providers are asked and what prices them."""
    for layer in layers:
        meet = getattr(layer, "meet", None)
        if meet is not None:
            for provider in providers:
                meet(provider, pricing)


@attrs.define(eq=False)
class _Run:
    """Tell how far one run of a layer, or of the provider, came."""

    name: str = ""
    inner: _Run | None = None
    """What it asked last."""
    ended: bool = False
    """True once it said by itself that there is no more."""
    error: BaseException | None = None
    asked: bool = False
    """True of the provider; the rest is told of it alone."""
    begun: bool = False
    """Something of an answer came."""
    finished: bool = False
    """Its finish signal came."""
    usage: Usage = attrs.field(factory=Usage)
    cost: Decimal | None = None


class _Onion:
    """Run the layers around one request. Held by its generators alone, and emptied when the outermost ends."""

    def __init__(self, ask: Ask, layers: tuple[Middleware, ...], watch: Watch) -> None:
        self._ask, self._layers, self._watch = ask, layers, watch
        self._over = False
        self._source: Iterator[Chunk] | None = None
        """The provider's chunks, of the call that was made last."""
        self._runs: list[_Run] = []
        self._told = Told()

    def answer(self, request: ChatRequest) -> Iterator[Chunk]:
        """Yield what the outermost layer does, checked, and then what the provider told of the ending."""
        top, told, halves = _Run(), self._told, Halves()
        chunks = self._begin(0, top, request)
        waits = False  # half a character
        try:
            for chunk in chunks:
                if chunk.type is _TEXT and chunk.text.isascii() and not (told.marks or waits):
                    told.seen, told.shown = chunk, True
                    yield chunk
                else:
                    yield from encodable(told.out(_mended(chunk)), halves)
                    waits = halves.held
            yield from encodable(self._ending(top), halves)
        except Exception:
            if self._watch.stopped is None:  # else nothing is taken any more
                yield from told.known()
            raise
        finally:
            self._end(chunks)

    def _end(self, chunks: Any) -> None:
        """Hang up, then let the layers clean up; whatever they still hold sends nothing and gives nothing."""
        self._over = True
        runs, self._runs, source, self._source = self._runs, [], self._source, None
        try:
            try:
                close(source)
            finally:
                chunks.close()
        finally:
            for run in runs:
                run.error = None  # its trace holds the frames that hold the run

    # The layers

    def _begin(self, depth: int, caller: _Run, request: ChatRequest) -> Iterator[Chunk]:
        """Yield what the layer at *depth* makes of *request*, or the provider behind the last one."""
        if self._over:
            raise StateError(f"{caller.name} asks for more after its turn is over; nothing is sent any more.")
        if not isinstance(request, ChatRequest):
            raise ConfigError(f"{caller.name} gave call_next {request!r:.60}; it takes a ChatRequest.")
        last = depth == len(self._layers)
        run = caller.inner = _Run("the provider" if last else name_of(self._layers[depth]))
        self._runs.append(run)
        try:
            if last:
                yield from self._provider(run, request)
            else:
                yield from self._layer(run, depth, request)
        except GeneratorExit:
            raise
        except BaseException as error:
            run.error = error
            raise
        run.ended = True

    def _layer(self, run: _Run, depth: int, request: ChatRequest) -> Iterator[Chunk]:
        layer: Any = self._layers[depth]
        if isinstance(layer, Watching):
            layer = layer.watched(self._watch)
        chunks = layer(request, partial(self._begin, depth + 1, run))
        if not hasattr(chunks, "__next__"):
            raise ConfigError(no_iterator(run.name, chunks))
        try:
            for chunk in chunks:
                if chunk.__class__ is Chunk and chunk.type is _TEXT and chunk.text.__class__ is str:
                    yield chunk
                    continue
                wrong = problem(chunk)
                if wrong:
                    raise ConfigError(f"The middleware {run.name} yielded {wrong}")
                if isinstance(chunk, Finish):
                    self._told.retell(chunk)
                yield chunk
        finally:
            try:
                close(chunks)
            finally:
                del chunks  # one that yields on its way out holds the trace that holds this frame

    def _provider(self, run: _Run, request: ChatRequest) -> Iterator[Chunk]:
        """Yield the provider's chunks and keep what it tells; one call at a time."""
        told = self._told
        if self._source is not None:
            yield self._another()
        run.asked = True
        told.begin()
        source = self._source = self._ask(request, self._watch)
        try:
            for chunk in source:
                if chunk.type is _TEXT:
                    told.latest, run.begun = chunk, True
                else:
                    self._learn(run, chunk)
                yield chunk
            return
        except StreamError as error:
            # After the finish signal only the transport can fail: the layers are not to take it for their concern.
            if not run.finished or isinstance(error, (Cancelled, ProviderError)) or not self._watch.resume("idle"):
                raise
            late = Finish(warnings=(f"After the finish signal: {error}",))
        yield told.tell(late)

    def _another(self) -> Finish:
        """Hang up the provider's last call, and say that another begins."""
        close(self._source)
        last = next(run for run in reversed(self._runs) if run.asked)
        if last.begun or last.usage:
            self._told.spend(last.usage, last.cost)
        return self._told.tell(Finish(restart=True))

    def _learn(self, run: _Run, chunk: Chunk) -> None:
        """Keep what *chunk*, which is not text, tells of the answer."""
        if isinstance(chunk, Finish):
            self._told.tell(chunk)
            if chunk.restart:
                run.begun, run.finished, run.usage, run.cost = False, False, Usage(), None
            run.usage = chunk.usage_seen or run.usage
            run.cost = run.cost if chunk.cost is None else chunk.cost
            if chunk.reason is not None or (chunk.sentinel and run.begun):
                run.finished = True
                self._watch.finishing()
        elif isinstance(chunk, Opaque):
            run.begun = True
            self._told.mark(chunk)
        else:
            run.begun = run.begun or chunk.type in SHOWN
            self._told.give(chunk)

    # The ending

    def _ending(self, top: _Run) -> Iterator[Chunk]:
        """Hand out what is left, the finish signal last.

        Raises:
            Truncated: a layer ended before the provider did, and did not say that the answer ends here.
        """
        told = self._told
        yield from told.rest()
        last = top
        while last.inner is not None and last.inner.ended:
            last = last.inner
        if not (told.stated or last.asked):
            if last.inner is None:
                yield from self._own(last)
            elif last.inner.error is not None or not _provider_of(last).finished:
                told.withdraw()
                raise _cut(last) from _bare(last.inner.error)
        yield from told.signals(told.stated or any(run.begun for run in self._runs))

    def _own(self, run: _Run) -> Iterator[Chunk]:
        """End the answer of a layer that asked nobody: it is whole as it stands."""
        self._told.withdraw()  # of a call before it, whose answer was put aside
        if not self._told.shown:
            raise Truncated(
                f"There is no answer: the middleware {run.name} neither asked nor said anything.", phase="middleware"
            )
        yield Finish(sentinel=True)


def _mended(chunk: Chunk) -> Chunk:
    """Give *chunk* with a tool call that can be encoded; text is seen to beside it."""
    call = chunk.tool_call and mended_call(chunk.tool_call)
    return chunk if call is chunk.tool_call else attrs.evolve(chunk, tool_call=call)


def _provider_of(run: _Run) -> _Run:
    while run.inner is not None:
        run = run.inner
    return run


def _bare(error: BaseException | None) -> BaseException | None:
    """Give *error* without its trace, whose frames would hold the turn that records it in a cycle."""
    return None if error is None else error.with_traceback(None)


def _cut(run: _Run) -> Truncated:
    """Give the error for a layer that ended before what it had asked did."""
    assert run.inner is not None
    error = run.inner.error
    if error is not None:
        what = f"ended after {type(error).__name__}, which it caught"
    else:
        what = "stopped reading before the provider had finished"
    return Truncated(
        f"The answer was cut: the middleware {run.name} {what}. "
        "Where the answer is meant to end there, let it yield middleware.finish('stop').",
        phase="middleware",
    )
