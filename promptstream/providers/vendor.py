"""A vendor's name, key and address in, what every dialect over HTTP has in common out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from promptstream.errors import ConfigError, ProtocolError, ProviderError
from promptstream.providers.base import check_clear, checked_headers, checked_key, checked_url
from promptstream.providers.failures import http_error
from promptstream.values.request import Call, ModelInfo
from promptstream.values.secret import Address, Secret, plain, secrets_in, secrets_queried

_KEY_HEADERS = {"api-key", "x-api-key", "x-goog-api-key"}
"""What servers call the header that holds a key: Azure, Anthropic, Google."""

_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/messages")


class VendorDialect:
    """Hold name, key, model, address and headers; a dialect adds what is said there."""

    name: str
    framing: Literal["sse", "ndjson"] = "sse"
    capabilities: frozenset[str] = frozenset()
    queries: frozenset[str] = frozenset()
    extras: frozenset[str] = frozenset()
    keepalives: frozenset[str] = frozenset()
    free = False

    default_model: ClassVar[str] = ""
    default_url: ClassVar[str] = ""
    url_variable: ClassVar[str] = ""
    key_variables: ClassVar[tuple[str, ...]] = ()
    key_required: ClassVar[bool] = True
    key_header: ClassVar[str] = "Authorization"
    key_prefix: ClassVar[str] = "Bearer "
    fixed_headers: ClassVar[Mapping[str, str]] = {}
    """Headers that the protocol asks for; the user's go over them."""
    url_example: ClassVar[str] = "the server's address up to and with /v1"
    models_path: ClassVar[str] = "/models"
    needs_model: ClassVar[bool] = False
    """True where nothing can be asked without naming a model, and there is no default."""
    idempotency_header: ClassVar[str] = ""
    """The header by which the provider itself knows a repeated request; none documents one today."""
    unreachable: str = ""
    """What to do where nothing answers at the address; goes into that error."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        """Take what every provider takes.

        Args:
            api_key: the key; else the first of the environment's that is set.
            model: the model asked where a call names none.
            base_url: the address up to the first part that the protocol names; a query at its end is kept.
            headers: go with each call; one whose name says that it holds a key is treated as one.
            allow_plaintext: send a key over ``http://`` to another machine all the same.

        Raises:
            MissingKey: a key is needed, and there is none.
            ConfigError: one of these cannot be used, or a key would go in clear text.
        """
        carried = _KEY_HEADERS | {"authorization", self.key_header.lower()}
        required = self.key_required and carried.isdisjoint(str(name).lower() for name in headers or ())
        self.secret = checked_key(api_key, self.key_variables, self.name, required=required)
        self.model = model or self.default_model
        self.base_url, self._query = self._address(base_url)
        self._headers = self._with_key(checked_headers(headers), named=bool(api_key))
        self.secret = Secret(self.secret, also=(*self._header_secrets(), *secrets_queried(self._query)))
        if self.secret or self.secret.also:
            check_clear(self.base_url, allow_plaintext, self.name)

    def _address(self, given: str | None) -> tuple[str, Secret]:
        """Give the base URL and its query, which may hold a key."""
        url = given or self.url_from_environment() or self.default_url
        if not url:
            raise ConfigError(f"{self.name} needs base_url=…, {self.url_example}.")
        base, _, query = checked_url(url).partition("?")
        ending = next((each for each in _ENDPOINTS if base.endswith(each)), None)
        if ending is not None:
            raise ConfigError(f"base_url={base!r:.200} ends in {ending}: give what stands before it.")
        return base.rstrip("/"), Secret(query)

    def _with_key(self, given: dict[str, str], *, named: bool) -> dict[str, str]:
        """Give the headers of every call; a header of the user's that holds the key goes over any other key.

        Args:
            given: the user's headers.
            named: True where the user gave a key as such. Then only the provider's own header goes over it.
        """
        theirs = {name.lower() for name in given}
        fixed = {"Accept": "text/event-stream, application/json", **self.fixed_headers}
        headers = {name: value for name, value in fixed.items() if name.lower() not in theirs} | given
        keys = {"authorization", self.key_header.lower()} | (set() if named else _KEY_HEADERS)
        own = [name for name in given if name.lower() in keys]
        for name in own:
            self.secret = Secret(plain(given[name]).rpartition(" ")[2])
        if self.secret and not own:
            headers[self.key_header] = self.secret.prefixed(self.key_prefix)
        return headers

    def _header_secrets(self) -> Iterator[str]:
        for value in self._headers.values():
            if isinstance(value, Secret):
                yield from secrets_in(value)

    def url_from_environment(self) -> str:
        """Give the base URL that the vendor's own variable names, or ""."""
        return os.environ.get(self.url_variable, "") if self.url_variable else ""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Give the error for an HTTP status."""
        return http_error(self.name, self.secret, status, headers, body)

    def models_call(self) -> Call:
        """Give the GET that lists the models."""
        return Call("GET", self.address(self.models_path), self._headers)

    def address(self, path: str, base: str = "") -> str:
        """Give the URL of *path* below *base*, else the base URL, whose query (``?api-version=…``) stays at the end."""
        url = (base or self.base_url) + path
        return Address(f"{url}{'&' if '?' in path else '?'}{plain(self._query)}") if self._query else url

    def decode_models(self, body: Any) -> list[ModelInfo]:
        """Turn the list of models into values."""
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise ProtocolError(f"{self.name} answered something else than a list of models.", phase="decode")
        return [ModelInfo(row["id"]) for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
