"""A vendor's name, key and address in, what every dialect over HTTP has in common out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from promptstream.errors import ConfigError, ProtocolError, ProviderError
from promptstream.providers.base import checked_headers, checked_key, checked_url
from promptstream.providers.failures import http_error
from promptstream.values.request import Call, ModelInfo
from promptstream.values.secret import Secret

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
    unreachable: str = ""
    """What to do where nothing answers at the address; goes into that error."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        carried = _KEY_HEADERS | {"authorization", self.key_header.lower()}
        required = self.key_required and carried.isdisjoint(str(name).lower() for name in headers or ())
        self.secret = checked_key(api_key, self.key_variables, self.name, required=required)
        self.model = model or self.default_model
        url = base_url or self.url_from_environment() or self.default_url
        if not url:
            raise ConfigError(f"{self.name} needs base_url=…, {self.url_example}.")
        self.base_url = checked_url(url)
        ending = next((each for each in _ENDPOINTS if self.base_url.partition("?")[0].endswith(each)), None)
        if ending is not None:
            raise ConfigError(f"base_url={self.base_url!r:.200} ends in {ending}: give what stands before it.")
        given = checked_headers(headers)
        named = {name.lower() for name in given}
        fixed = {"Accept": "text/event-stream, application/json", **self.fixed_headers}
        self._headers = {name: value for name, value in fixed.items() if name.lower() not in named} | given
        self._headers |= {name: Secret(given[name]) for name in given if name.lower() in _KEY_HEADERS}
        keys = {"authorization", self.key_header.lower()}
        if not api_key:  # such a header is the key, and none from the environment goes beside it
            keys |= _KEY_HEADERS
        own = [name for name in given if name.lower() in keys]
        for name in own:  # a key all the same, and over any other
            self._headers[name] = Secret(given[name])
            self.secret = Secret(given[name].rpartition(" ")[2])
        if self.secret and not own:
            self._headers[self.key_header] = self.secret.prefixed(self.key_prefix)

    def url_from_environment(self) -> str:
        """Give the base URL that the vendor's own variable names, or ""."""
        return os.environ.get(self.url_variable, "") if self.url_variable else ""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Give the error for an HTTP status."""
        return http_error(self.name, self.secret, status, headers, body)

    def models_call(self) -> Call:
        """Give the GET that lists the models."""
        return Call("GET", self.address(self.models_path), self._headers)

    def address(self, path: str) -> str:
        """Give the URL of *path* below the base URL, whose query (Azure's ``?api-version=…``) stays at the end."""
        base, mark, query = self.base_url.partition("?")
        return f"{base.rstrip('/')}{path}{'&' if mark and '?' in path else mark}{query}"

    def decode_models(self, body: Any) -> list[ModelInfo]:
        """Turn the list of models into values."""
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise ProtocolError(f"{self.name} answered something else than a list of models.", phase="decode")
        return [ModelInfo(row["id"]) for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
