"""What a user says of where Ollama is in, its base URL out: the rules of OLLAMA_HOST."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from promptstream.errors import ConfigError
from promptstream.providers.base import checked_url
from promptstream.values.secret import bare_address

CLOUD = "ollama.com"
PORT = 11434
_PARTS = re.compile(r"/(v1(/chat)?(/completions)?|api(/(chat|generate|tags))?)$")
_QUOTED = re.compile(r" (as|in) '.*", re.DOTALL)
"""What urllib quotes of an address, which may be a password."""
_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - what a server listens on; a client finds it on this machine


def server_address(said: str, source: str) -> str:
    """Give the base URL that *said* means, *source* being where it was said.

    Scheme and port may be missing: ``host`` means ``http://host:11434``, ``http://host`` port 80. An
    address to listen on, such as 0.0.0.0, means this machine.

    Raises:
        ConfigError: it is no address, or that of a part of the API.
    """
    try:
        parts = urlsplit(_with_scheme(said.strip().strip("\"'")))
        if parts.username is not None:
            raise ConfigError(f"{source} holds a user name or password; give the key as api_key instead.")
        host, port = parts.hostname or "", parts.port
        if not (host or port) or any(map(str.isspace, host)):
            raise ValueError("it names no host")
    except (ValueError, AttributeError) as error:
        why = _QUOTED.sub("", str(error))
        raise ConfigError(
            f"{source}={bare_address(said)!r:.100} is no address: {why}. Give one such as http://127.0.0.1:{PORT}."
        ) from None
    path = parts.path.rstrip("/")
    if part := _PARTS.search(path):
        hint = " For its OpenAI-style API take the provider compatible." if part[0].startswith("/v1") else ""
        shown = bare_address(said)
        raise ConfigError(
            f"{source}={shown!r:.100}: give the server's address alone, such as http://127.0.0.1:{PORT}.{hint}"
        )
    where = parts.netloc
    if host in _ANY:
        where = f"{'[::1]' if host == '::' else '127.0.0.1'}{'' if port is None else f':{port}'}"
    return checked_url(parts._replace(netloc=where, path=path, fragment="").geturl())


def _with_scheme(said: str) -> str:
    from ipaddress import IPv6Address

    if "://" in said:
        return said
    authority, slash, path = said.partition("/")
    if "@" in authority:
        return f"http://{said}"
    if authority.lower().partition(":")[0] == CLOUD:
        return f"https://{said}"
    if authority.count(":") > 1 and not authority.startswith("["):
        return f"http://[{IPv6Address(authority)}]:{PORT}{slash}{path}"
    has_port = ":" in authority.rpartition("]")[2]
    return f"http://{authority}{'' if has_port or not authority else f':{PORT}'}{slash}{path}"


def is_cloud(url: str) -> bool:
    """Tell whether *url* is that of Ollama's own service."""
    host = urlsplit(url).hostname or ""
    return host == CLOUD or host.endswith(f".{CLOUD}")
