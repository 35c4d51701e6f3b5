"""A URL with placeholders and the hosts that may be called in, the URL of one call out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit, urlunsplit

import attrs

from promptstream.errors import ConfigError, ToolArguments
from promptstream.values.hosts import is_loopback
from promptstream.values.secret import bare_address
from promptstream.values.surrogates import mend

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Address:
    """Know where calls may go; arguments fill a place in path or query, and never anything else."""

    parts: SplitResult = attrs.field(repr=False)
    places: tuple[str, ...]
    """The placeholders."""

    @classmethod
    def of(cls, name: str, url: str, allow: Iterable[str]) -> Address:
        """Read the *url* of the tool called *name*.

        Raises:
            ConfigError: it is no address that can be called, or its host is not among those in *allow*.
            TypeError: *allow* is no list.
        """
        if isinstance(allow, (str, Mapping)):
            raise TypeError(f"allow={allow!r:.80}: give a list of hosts.")
        said = bare_address(url) if isinstance(url, str) else repr(url)
        if isinstance(url, str) and _CONTROL.search(url):
            raise ConfigError(f"HTTP tool {name!r}: {said!r:.100} has a line break or another control character.")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except (ValueError, AttributeError, TypeError):
            raise ConfigError(f"HTTP tool {name!r}: {said:.100} is no http(s):// address.") from None
        if parts.scheme not in _PORTS or not host or re.search(r"[\s\\{}%]", parts.netloc) or "\\" in parts.path:
            raise ConfigError(f"HTTP tool {name!r}: {said:.100} is no http(s):// address with a host of its own.")
        if parts.username is not None:
            raise ConfigError(f"HTTP tool {name!r}: its url holds a user name or password; give them by headers=.")
        if parts.scheme == "http" and not is_loopback(host):
            raise ConfigError(f"HTTP tool {name!r}: {said:.100} is not encrypted; give an https:// address.")
        port = port or _PORTS[parts.scheme]
        permitted = [_permits(each, parts.scheme, host, port) for each in allow]
        if not any(permitted):
            shown = f"[{host}]" if ":" in host else host
            shown += "" if port == _PORTS[parts.scheme] else f":{port}"
            raise ConfigError(
                f"HTTP tool {name!r} calls {shown:.100}, which is not allowed; write allow=[{shown!r:.100}]."
            )
        return cls(parts._replace(fragment=""), tuple(dict.fromkeys(_PLACE.findall(parts.path + "?" + parts.query))))

    def fill(self, arguments: Mapping[str, Any], *, query: bool) -> tuple[str, dict[str, Any]]:
        """Give the URL for *arguments*, and those that did not go into it; with *query*, all others go there.

        Raises:
            ToolArguments: one cannot stand in its place.
        """
        rest = {name: value for name, value in arguments.items() if name not in self.places}

        def put(found: re.Match[str]) -> str:
            return quote(_text(found[1], arguments.get(found[1])), safe="")

        path = _PLACE.sub(put, self.parts.path)
        if any(_leaves(unquote(segment)) for segment in path.split("/")) and self.places:
            raise ToolArguments("The arguments cannot be used: one of them would lead to another path.")
        said = [_PLACE.sub(put, self.parts.query)] if self.parts.query else []
        if query:
            pairs = [(name, _query_text(each)) for name, value in rest.items() for each in _each(value)]
            said, rest = [*said, urlencode(pairs)] if pairs else said, {}
        return urlunsplit(self.parts._replace(path=path or "/", query="&".join(said))), rest


def _permits(allowed: Any, scheme: str, host: str, port: int) -> bool:
    """Tell whether *allowed*, a host with or without a port or an origin, is the host that is called."""
    if not isinstance(allowed, str):
        raise TypeError(f"allow={allowed!r:.80}: each is a host, such as 'api.example.com'.")
    try:
        parts = urlsplit(allowed if "://" in allowed else f"//{allowed}")
        wanted = parts.port or _PORTS[parts.scheme or scheme]
    except (ValueError, KeyError):
        raise ConfigError(f"allow={allowed!r:.80} is no host and no origin.") from None
    if "*" in allowed:
        raise ConfigError(f"allow={allowed!r:.80}: wildcards are not understood; name each host: 'api.example.com'.")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise ConfigError(f"allow={allowed!r:.80} is no host and no origin; paths are not understood.")
    return parts.hostname == host and wanted == port and parts.scheme in ("", scheme)


def _leaves(segment: str) -> bool:
    """Tell whether a segment, should a server read it unquoted, would be more than one name."""
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", segment))


def _text(name: str, value: Any) -> str:
    """Give *value* as it stands in a path."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str) and value:
        return mend(value)
    raise ToolArguments(
        f"The argument {name!r} stands in the address: it must be a string that is not empty, or a number."
    )


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return mend(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
