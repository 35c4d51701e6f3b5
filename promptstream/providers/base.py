"""What a provider's dialect is: a request in, a call out; events in, chunks out. No HTTP, no state.

A dialect can be tested with bytes alone::

    events = iter_sse([body])
    chunks = list(dialect.decode(events))
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from promptstream.errors import ConfigError, MissingKey, ProviderError
from promptstream.values.chunk import Chunk
from promptstream.values.hosts import is_loopback
from promptstream.values.request import Call, ChatRequest, ModelInfo
from promptstream.values.secret import Secret, bare_address, hidden, names_secret, plain

if TYPE_CHECKING:
    from promptstream.wire.events import EventStream
    from promptstream.wire.watch import Watch


class Dialect(Protocol):
    """Speak one provider's protocol.

    ``decode`` and ``decode_whole`` yield :class:`Chunk`, and the two internal kinds: ``Finish`` as
    soon as something is known of the ending, ``Opaque`` for what the provider needs back next turn.
    They raise a ProviderError where the provider says so inside a 200 stream.
    """

    name: str
    model: str
    """The model used where none is named; "" where there is none."""
    framing: Literal["sse", "ndjson"]
    capabilities: frozenset[str]
    extras: frozenset[str]
    """Names of public attributes that Provider hands through."""
    queries: frozenset[str]
    """Names of unary calls: ``credits`` means methods ``credits_call(…) -> Call`` and ``decode_credits(body)``."""
    keepalives: frozenset[str]
    """Names of events that only say that the connection lives: they feed no clock."""
    free: bool
    """True where an answer costs nothing."""
    secret: Secret
    """The key, to be scrubbed from what the provider says with all that it is ``also`` with; "" where there is none."""

    def encode(self, request: ChatRequest) -> Call:
        """Give the call for *request*; ConfigError or Unsupported where it cannot be said in this dialect.

        A parameter that the provider or its model lacks is left out, with one warning on the call naming it.
        """
        ...

    def decode(self, events: EventStream) -> Iterator[Chunk]:
        """Turn a stream's events into chunks, and stop at its terminator."""
        ...

    def decode_whole(self, body: Any) -> Iterator[Chunk]:
        """Turn an answer that came as one JSON value into chunks."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Give the error a status outside 2xx stands for."""
        ...


@runtime_checkable
class Lister(Protocol):
    """A dialect that can list its provider's models (capability "models")."""

    def models_call(self) -> Call:
        """Give the call that lists the models."""
        ...

    def decode_models(self, body: Any) -> list[ModelInfo]:
        """Turn the JSON answer to that call into values."""
        ...


@runtime_checkable
class Starter(Protocol):
    """A dialect that must start something before its first call."""

    def prepare(self, watch: Watch) -> str:
        """Start it, once, and give the base URL; blocks until it answers, or *watch* is stopped."""
        ...


@runtime_checkable
class Player(Protocol):
    """A dialect that makes its chunks itself, without a wire."""

    def play(self, request: ChatRequest, watch: Watch) -> Iterator[Chunk]:
        """Yield the chunks of one answer."""
        ...


def checked_key(key: str | None, variables: tuple[str, ...], provider: str, *, required: bool = True) -> Secret:
    """Give *key*, or the first of the environment *variables* that is set, once it is fit for a header.

    Raises:
        MissingKey: there is none, and it is required.
        ConfigError: it holds white space or characters outside ASCII; the key is not shown.
    """
    source = "api_key"
    if key is None:
        for source in variables:
            if key := Secret(os.environ.get(source, "")):
                break
    if not key:
        if required:
            raise MissingKey(f"No key for {provider}: give api_key=… or set {' or '.join(variables)}.")
        return Secret("")
    if not isinstance(key, str):
        raise ConfigError(f"The key in {source} is a {type(key).__name__}; give a string.")
    key = Secret(key)
    if not key.isascii() or not key.isprintable() or " " in key:
        fault = "ends in a line break or space" if key.rstrip() != key else "holds white space or non-ASCII characters"
        raise ConfigError(
            f"The key in {source} {fault}; give the key alone (.strip() helps where it comes from a file)."
        )
    return key


def checked_url(url: str) -> str:
    """Give a base URL without its trailing slash.

    Raises:
        ConfigError: it is not an http(s) address with a host, or holds a password.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host = parts.hostname
    except (ValueError, AttributeError, TypeError):
        host = None
    if not host or parts.scheme not in ("http", "https"):
        shown = bare_address(url) if isinstance(url, str) else url
        raise ConfigError(f"base_url={shown!r:.100}: give an address such as http://127.0.0.1:8000/v1.")
    if parts.username is not None:
        raise ConfigError("base_url holds a user name or password; give the key as api_key instead.")
    return url.rstrip("/")


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Give extra headers once they are fit for HTTP, those that hold a key as secrets.

    Raises:
        ConfigError: a name or value is not a string or holds a line break; the value is not shown.
    """
    checked = {}
    for name, value in hidden(headers or {}).items():
        if not (isinstance(name, str) and isinstance(value, str)) or not (_fits_header(name) and _fits_header(value)):
            raise ConfigError(f"The header {name!r:.60} must be a string of Latin-1 characters without line breaks.")
        checked[name] = value if names_secret(name) else plain(value)
    return checked


def check_clear(url: str, allowed: bool, provider: str) -> None:
    """Refuse to send a key to *url* where others could read it on its way, unless that is *allowed*.

    Raises:
        ConfigError: the connection is not encrypted, and leaves this machine.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.hostname or ""
    if allowed or parts.scheme != "http" or is_loopback(host):
        return
    raise ConfigError(
        f"A key would go to http://{host} in clear text. Use https://; or leave the key out, if that server needs "
        "none; or, if the network is your own, give "
        f"provider=promptstream.providers.get({provider!r}, …, allow_plaintext=True)."
    )


def _fits_header(text: str) -> bool:
    return not {"\r", "\n", "\0"} & set(text) and all(ord(character) < 256 for character in text)
