"""An address in, a tool that is one HTTP call out; those that a pack describes, as far as the application allows.

The application names every host that may be called. Redirects are not followed, so a host cannot pass a call on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from promptstream.errors import ConfigError
from promptstream.tools.address import Address
from promptstream.tools.endpoint import Endpoint
from promptstream.tools.tool import Tool
from promptstream.values.names import nearest
from promptstream.values.request import ToolSpec
from promptstream.values.secret import Secret, hidden, names_secret, secrets_queried

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
_KEYS = ("url", "method", "headers", "headers_from_env", "timeout_ms", "redact", "result")
_OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "content-type", "accept-encoding")
_VALUE = re.compile(r"(?![ \t])[\t\x20-\x7e\xa0-\xff]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def http_tool(
    name: str,
    url: str,
    *,
    allow: Iterable[str],
    method: str = "POST",
    description: str = "",
    parameters: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    headers_from_env: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    request: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
    result: str | Callable[[Any], Any] | None = None,
    redact: Iterable[str] = (),
    approval: bool = False,
    verify: bool | str | None = None,
) -> Tool:
    """Make a tool that is one HTTP call. Nothing is sent here; any number of threads may run the tool at once.

    Args:
        name: what the model calls it.
        url: where it goes, https but for loopback. ``{city}`` in its path or query is filled with that argument,
            quoted; it cannot leave its place in the path.
        allow: the hosts (``"api.example.com"``, ``"api.example.com:8443"``) or origins that may be called.
        method: with GET, HEAD and DELETE the other arguments go into the query, else they are the JSON body.
        description: what the model is told of it.
        parameters: the JSON Schema of its arguments; left out, one string for each placeholder.
        headers: sent with each call.
        headers_from_env: header → environment variable, a scheme in front if need be:
            ``{"Authorization": "Bearer WEATHER_KEY"}``. Read now; the values never show.
        timeout: seconds for the whole call.
        request: maps the arguments to those that are sent.
        result: the part of the JSON answer that the model sees, as a path (``"items.0.name"``) or a function.
        redact: names of fields that are dropped from the answer wherever they stand.
        approval: True has each call wait for a human's yes.
        verify: False, or the path of a CA bundle.

    Raises:
        ConfigError: the host is not allowed, a variable is not set, or something else cannot be meant so.
        TypeError: a value is of the wrong kind.
    """
    address = Address.of(name, url, allow)
    if not isinstance(method, str) or method.upper() not in _METHODS:
        raise ConfigError(f"HTTP tool {name!r}: method={method!r:.40}; give one of {', '.join(_METHODS)}.")
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= 3600:
        raise ConfigError(f"HTTP tool {name!r}: timeout={timeout!r:.40}; give seconds above 0, at most 3600.")
    check_names(redact=redact)
    sent, secrets = _headers(name, headers or {}, headers_from_env or {})
    spec = ToolSpec(name, description, dict(parameters) if parameters is not None else _schema_for(address))
    _check_places(name, address, spec.parameters)
    endpoint = Endpoint(
        name=name,
        address=address,
        method=method.upper(),
        headers=sent,
        secret=Secret(also=[*secrets, *secrets_queried(address.parts.query)]),
        timeout=float(timeout),
        request=request,
        result=result,
        redact=frozenset(redact),
        verify=verify,
    )
    return Tool(endpoint, spec, approval=approval)


def http_tools(
    pack: Any,
    *,
    allow: Iterable[str],
    env: Iterable[str] = (),
    request: Mapping[str, Callable[[dict[str, Any]], Mapping[str, Any]]] | None = None,
    result: Mapping[str, str | Callable[[Any], Any]] | None = None,
    approval: Iterable[str] = (),
    verify: bool | str | None = None,
) -> list[Tool]:
    """Make the HTTP tools that a pack describes in ``"http"`` sections: url, method, headers, headers_from_env
    (a dict, or a list of ``"Header=VARIABLE"``), timeout_ms, redact, result.

    A pack is a file, perhaps of someone else's: it reaches no host and reads no variable but those named here.

    Args:
        pack: a Pack, or the dict of one.
        allow: the hosts or origins that may be called, as in :func:`http_tool`.
        env: the environment variables that the pack may send.
        request: by tool, as in :func:`http_tool`.
        result: by tool; goes before what the pack says.
        approval: the names of the tools of which each call waits for a human's yes.
        verify: False, or the path of a CA bundle.

    Raises:
        ConfigError: a host or a variable is not allowed, or a section cannot be understood.
    """
    check_names(env=env, approval=approval)
    raw = pack if isinstance(pack, Mapping) else pack.raw
    allowed, known, asked = tuple(allow), tuple(env), set(approval)
    made = []
    for name, body in (raw.get("tools") or {}).items():
        section = body.get("http") if isinstance(body, Mapping) else None
        if section is None:
            continue
        options = _read(name, section, known)
        if name in (result or {}):
            options["result"] = (result or {})[name]
        made.append(
            http_tool(
                name,
                description=body.get("description") or "",
                parameters=body.get("parameters"),
                allow=allowed,
                request=(request or {}).get(name),
                approval=name in asked,
                verify=verify,
                **options,
            )
        )
    for what, names in (("request", request or {}), ("result", result or {}), ("approval", asked)):
        for name in names:
            if name not in [each.name for each in made]:
                hint = nearest(name, [each.name for each in made])
                raise ConfigError(f"{what}=: the pack has no HTTP tool {name!r:.80}.{hint}")
    return made


def check_names(**lists: Any) -> None:
    """Refuse a string, or what is no list, where names are wanted.

    Raises:
        TypeError: one is given.
    """
    for name, given in lists.items():
        if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
            raise TypeError(f"{name}={given!r:.80}: give a list of names.")


def _read(name: str, section: Any, env: tuple[str, ...]) -> dict[str, Any]:
    """Read one ``"http"`` section of a pack as arguments of :func:`http_tool`."""
    if not isinstance(section, Mapping) or not isinstance(section.get("url"), str):
        raise ConfigError(f"The pack's $.tools.{name}.http is no object with a url.")
    for key in section:
        if key not in _KEYS:
            raise ConfigError(
                f"The pack's $.tools.{name}.http.{key!s:.60} is not understood.{nearest(str(key), _KEYS)} "
                f"Known: {', '.join(_KEYS)}."
            )
    options = {key: section[key] for key in ("url", "method", "result") if section.get(key) is not None}
    if not isinstance(options.get("result", ""), str):
        raise ConfigError(f"The pack's $.tools.{name}.http.result is no path such as 'items.0.name'.")
    options["headers"] = _texts(name, "headers", section.get("headers"))
    variables = _texts(name, "headers_from_env", section.get("headers_from_env"))
    for variable in variables.values():
        if (bare := variable.rpartition(" ")[2]) not in env:
            raise ConfigError(
                f"The pack's tool {name!r} wants to send the environment variable {bare!r:.80}; "
                f"allow it with http_tools(…, env=[{bare!r:.80}])."
            )
    options["headers_from_env"] = variables
    options["redact"] = section.get("redact") or ()
    if not isinstance(options["redact"], (list, tuple)) or not all(isinstance(each, str) for each in options["redact"]):
        raise ConfigError(f"The pack's $.tools.{name}.http.redact is no list of names.")
    milliseconds = section.get("timeout_ms")
    if milliseconds is not None:
        if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
            raise ConfigError(f"The pack's $.tools.{name}.http.timeout_ms is no number.")
        options["timeout"] = milliseconds / 1000
    return options


def _texts(name: str, key: str, given: Any) -> dict[str, str]:
    """Read a dict of strings, or a list of ``"Header=VARIABLE"``."""
    if isinstance(given, list) and all(isinstance(each, str) and "=" in each for each in given):
        given = {header.strip(): value.strip() for header, _, value in (each.partition("=") for each in given)}
    if not isinstance(given or {}, Mapping) or not all(isinstance(each, str) for each in (given or {}).values()):
        raise ConfigError(f"The pack's $.tools.{name}.http.{key} is no object of strings.")
    return dict(given or {})


def _headers(name: str, fixed: Mapping[str, str], env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Give the headers to send, and what of them is never shown."""
    for given in (fixed, env):
        if not isinstance(given, Mapping) or not all(isinstance(each, str) for pair in given.items() for each in pair):
            raise TypeError(f"HTTP tool {name!r}: give headers as a dict of strings.")
    sent, secrets = dict(fixed), [value for header, value in fixed.items() if names_secret(header)]
    for header, said in env.items():
        scheme, _, variable = said.rpartition(" ")
        if not (value := os.environ.get(variable, "").strip()):
            raise ConfigError(
                f"HTTP tool {name!r} needs the environment variable {variable!r:.80} for {header}; it is not set."
            )
        secrets.append(value)
        sent[header] = f"{scheme} {value}" if scheme else value
    for header, value in sent.items():
        if not _TOKEN.fullmatch(header) or header.lower() in _OWN_HEADERS:
            raise ConfigError(f"HTTP tool {name!r}: the header {header!r:.60} cannot be set.")
        if not _VALUE.fullmatch(value):
            raise ConfigError(
                f"HTTP tool {name!r}: the value of the header {header!r:.60} has characters that HTTP does not allow "
                "(line breaks, non-Latin ones, blanks in front)."
            )
    return hidden(sent), secrets


def _schema_for(address: Address) -> dict[str, Any]:
    names = list(address.places)
    required = {"required": names} if names else {}
    properties = {each: {"type": "string"} for each in names}
    return {"type": "object", "properties": properties, **required, "additionalProperties": False}


def _check_places(name: str, address: Address, parameters: Mapping[str, Any]) -> None:
    properties = parameters.get("properties") or {}
    for place in address.places:
        if place not in properties:
            raise ConfigError(
                f"HTTP tool {name!r}: {{{place}}} in its url is no argument.{nearest(place, properties)} "
                f"It has: {', '.join(properties) or 'none'}."
            )
