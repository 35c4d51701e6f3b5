"""A dialect and a wire in, a Provider out: the verbs of a conversation without its history."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from promptstream.answer import Answer, Outcome
from promptstream.asking import asked_model, chat_request, completion_request
from promptstream.capabilities import check_supported
from promptstream.exchange import exchange
from promptstream.fallback import Route
from promptstream.middleware.onion import Middleware, introduce, layered
from promptstream.pricing import Price, Prices, Pricing, Seller, read_prices
from promptstream.providers.base import Dialect
from promptstream.queries import Queries
from promptstream.stream import Stream
from promptstream.turn import Step, Turn, check_on_error
from promptstream.values.chunk import Chunk
from promptstream.values.encoding import encodable
from promptstream.values.format import Format
from promptstream.values.message import Message
from promptstream.values.request import ChatRequest, ToolSpec
from promptstream.values.response import Response
from promptstream.values.secret import Secret, hidden, secrets_of
from promptstream.values.timing import Timeout
from promptstream.wire.gate import Gate
from promptstream.wire.process import undivided
from promptstream.wire.retry import Retries, Retry, check_key_header
from promptstream.wire.watch import CancelToken, Watch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from promptstream.progress import Asked
    from promptstream.values.request import Parameters
    from promptstream.wire.transport import Transport


class Provider(Queries):
    """Ask one provider; one object serves many threads. Made by :func:`promptstream.providers.get`.

    A context manager: leaving it closes idle connections.

    Args:
        dialect: how the provider is spoken to.
        timeout: a Timeout, or seconds in total, where a call names none.
        retry: when a request is tried again, and how often; one budget for all requests of this object.
        max_in_flight: how many requests (streams, sends, completions, lists of models) may be on their way at
            once; the others wait their turn, in the order they came, and honour cancel and the total deadline
            while they do. A place is held from the request until its reply is over, through the waits between
            attempts too, so that a provider that asks for patience gets fewer callers. A loop that asks the
            same object again in its body needs a second place. None: no limit.
        idempotency_header: the header, such as "Idempotency-Key", by which a gateway in front of the provider knows
            a repeated request. Each request carries a fresh key in it, the same on all its attempts, and
            one that died whole on its way is sent again. None: the provider's own, which none has today.
        verify: False, or the path of a CA bundle; None follows the environment, then certifi's bundle.
        cert: the path of a client certificate, or (certificate, key).
        proxies: scheme → URL; None follows the proxy variables. Loopback is never proxied.
        prices: what models cost, by their names or patterns such as "gpt-*": Prices, or dicts of their fields, in USD
            per million tokens. They come before the list of the extra ``cost``, and after what the wire says.

    Raises:
        TypeError, ValueError: a time limit, *retry*, *max_in_flight* or a price is of the wrong type or out of range.
        ConfigError: *idempotency_header* is no name of a header.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        timeout: Timeout | float | None = None,
        retry: Retry | None = None,
        max_in_flight: int | None = None,
        idempotency_header: str | None = None,
        verify: bool | str | None = None,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        prices: Mapping[str, Price | Mapping[str, Any]] | None = None,
    ) -> None:
        self.dialect = dialect
        self.seller = Seller(dialect.name, getattr(dialect, "base_url", None), (read_prices(prices),), dialect.free)
        self.timeout = Timeout.of(timeout)
        header = getattr(dialect, "idempotency_header", "") if idempotency_header is None else idempotency_header
        self._key_header = check_key_header(header)
        self.retry = Retry() if retry is None else retry
        self._gate = None if max_in_flight is None else Gate(max_in_flight)
        self._wire: dict[str, Any] = {"verify": verify, "cert": cert, "proxies": hidden(proxies)}
        self._transport: Transport | None = None

    @property
    def retry(self) -> Retry:
        """When a request is tried again, and how often; setting it begins a new budget."""
        return self._retries.rules

    @retry.setter
    def retry(self, rules: Retry) -> None:
        if not isinstance(rules, Retry):
            raise TypeError(f"retry={rules!r:.60}: give a promptstream.Retry, such as Retry(attempts=5).")
        self._retries = Retries(rules, self._key_header)

    @property
    def name(self) -> str:
        """The provider's name: openai, compatible, local, …"""
        return self.dialect.name

    @property
    def secret(self) -> Secret:
        """The key, which does not print, and the passwords of ``proxies=`` beside it."""
        proxies = self._wire["proxies"]
        urls = proxies.values() if isinstance(proxies, Mapping) else ()
        return self.dialect.secret.beside(Secret(also=[each for url in urls for each in secrets_of(url)]))

    @property
    def model(self) -> str:
        """The model asked where a call names none."""
        return self.dialect.model

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do: streaming, completion, tools, reasoning, images, documents, json_schema, models,
        and model_fallback (``models=[…]``)."""
        return self.dialect.capabilities

    def stream(
        self,
        messages: str | Message | ChatRequest | Iterable[Message | Mapping[str, Any]],
        *,
        model: str | None = None,
        models: Iterable[str] = (),
        tools: Iterable[ToolSpec | Mapping[str, Any]] = (),
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        on_error: str = "raise",
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Stream:
        """Give a Stream of the answer to *messages*; nothing is sent before it is iterated over.

        Args:
            messages: a user's text, messages (plain role/content dicts are fine), or a ChatRequest.
            models: further models, in order, that the provider itself turns to where one cannot answer (OpenRouter).
            timeout: a Timeout, or seconds in total.
            cancel: a CancelToken or threading.Event that stops it from any thread.
            on_error: "raise", or "chunk" for one ERROR chunk in place of the exception.
            extra: goes into the request body verbatim.

        Raises:
            TypeError, ValueError: an unknown parameter, or one of the wrong type; a time limit not above 0.
            ConfigError: the messages or tools cannot be read.
        """
        request = chat_request(
            messages,
            self.model,
            model=model,
            models=models,
            tools=tools,
            extra=extra,
            parameters=parameters,
            streaming=True,
        )
        return self._stream(request, timeout, cancel, on_error)

    def send(
        self,
        messages: str | Message | ChatRequest | Iterable[Message | Mapping[str, Any]],
        *,
        streaming: bool = True,
        model: str | None = None,
        models: Iterable[str] = (),
        tools: Iterable[ToolSpec | Mapping[str, Any]] = (),
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        progress: Asked = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Response:
        """Give the whole answer; ``streaming=False`` asks for it as one JSON body.

        Args:
            progress: as :meth:`Stream.result` takes it.

        Raises:
            StreamError: the answer is not whole; ``error.response`` is what came of it.
            TypeError, ValueError, ConfigError: as :meth:`stream`.
        """
        request = chat_request(
            messages,
            self.model,
            model=model,
            models=models,
            tools=tools,
            extra=extra,
            parameters=parameters,
            streaming=streaming,
        )
        return self._stream(request, timeout, cancel, "raise").result(progress=progress)

    def stream_completion(
        self,
        prompt: str,
        *,
        model: str | None = None,
        models: Iterable[str] = (),
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        on_error: str = "raise",
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Stream:
        """Stream how *prompt* goes on: a text completion, without roles, where the provider has them.

        Raises:
            Unsupported: it has none.
            TypeError, ValueError, ConfigError: as :meth:`stream`.
        """
        request = completion_request(
            prompt,
            self.model,
            model=model,
            models=models,
            extra=extra,
            parameters=parameters,
            streaming=True,
        )
        return self._stream(request, timeout, cancel, on_error)

    def completion(
        self,
        prompt: str,
        *,
        streaming: bool = True,
        model: str | None = None,
        models: Iterable[str] = (),
        timeout: Timeout | float | None = None,
        cancel: CancelToken | threading.Event | None = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[Parameters],
    ) -> Response:
        """Give the whole of how *prompt* goes on; ``streaming=False`` asks for it as one JSON body.

        Raises:
            Unsupported: the provider has no text completions.
            StreamError: the answer is not whole; ``error.response`` is what came of it.
            TypeError, ValueError, ConfigError: as :meth:`stream`.
        """
        request = completion_request(
            prompt,
            self.model,
            model=model,
            models=models,
            extra=extra,
            parameters=parameters,
            streaming=streaming,
        )
        return self._stream(request, timeout, cancel, "raise").result()

    def close(self) -> None:
        """Close idle connections; running streams go on. A closed provider opens new ones when used."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Provider {self.name} {self.model}>".replace(" >", ">")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            dialect = self.__dict__.get("dialect")
            if dialect is not None and name in dialect.extras:
                return getattr(dialect, name)
            if dialect is not None and name in dialect.queries:
                return self._known(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def turn(
        self,
        *,
        model: str,
        watch: Watch,
        on_error: str,
        claim: Callable[[Answer], Iterator[Step]],
        commit: Callable[[Answer, Response, Outcome], None],
        fallback: Sequence[Provider] = (),
        middleware: Sequence[Middleware] = (),
        reader: Callable[[str], Any] | None = None,
        demanded: bool = False,
        prices: Prices | None = None,
    ) -> Turn:
        """Make a turn on this provider, for a conversation; *fallback* is asked where it does not answer.

        Raises:
            ConfigError: *on_error* is neither "raise" nor "chunk".
        """
        pricing = Pricing(self.seller.over(prices))
        answer = Answer(self.name, model, pricing.seller.untold(model), reader, demanded, pricing)
        introduce(middleware, (self, *fallback), pricing)

        def passed_to(provider: Provider) -> None:
            pricing.seller = provider.seller.over(prices)

        ask = layered(Route((self, *fallback), passed_to).ask if fallback else self.ask, middleware)
        check_on_error(on_error)
        return Turn(watch, answer, partial(claim, answer), ask, partial(commit, answer), on_error, not middleware)

    def ask(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Give the chunks of one request, for a turn.

        Raises:
            Unsupported: the provider cannot do what is asked for.
        """
        dialect = self.dialect
        check_supported(dialect, request)
        play = getattr(dialect, "play", None)  # not isinstance: a runtime protocol costs more than a chunk
        if play is not None:
            chunks = encodable(play(request, watch))
        else:
            chunks = exchange(dialect, self._get_transport, self._retries, request, watch)
        return chunks if self._gate is None else self._gate.through(chunks, watch)

    def asked_model(self, model: str | None, models: tuple[str, ...]) -> str:
        """Give the model that a request names: *model*, else the provider's own, else none beside *models*."""
        return asked_model(model, models, self.model)

    def _get_transport(self) -> Transport:
        # Without a lock, which a fork could leave locked: a transport made in vain has opened nothing yet.
        transport = self._transport
        if transport is None:
            made = _load_transport()(**self._wire)
            transport = self._transport = self._transport or made
        return transport

    def _stream(self, request: ChatRequest, timeout: Any, cancel: Any, on_error: str) -> Stream:
        check_supported(self.dialect, request)
        turn = self.turn(
            model=request.model,
            watch=Watch(Timeout.of(timeout, self.timeout), cancel),
            on_error=on_error,
            claim=lambda answer: iter((request,)),
            commit=lambda answer, response, outcome: None,
            reader=Format.reader(request.parameters),
        )
        return Stream(turn, request.parameters.get("max_tokens"))


def _load_transport() -> type[Transport]:
    """Import what a request needs; the first one pays, and no other thread may fork meanwhile."""
    with undivided:
        from promptstream.wire.transport import Transport
    return Transport
