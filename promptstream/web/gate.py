"""A request's headers in, whether it may come in out: host, origin, site and token."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from email.message import Message
from ipaddress import ip_address
from urllib.parse import urlsplit

import attrs

from promptstream.errors import ConfigError
from promptstream.values.hosts import is_loopback
from promptstream.values.secret import Secret, plain

_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Refusal(Exception):
    """Say why somebody may not come in, with the HTTP status for it."""

    status: int
    reason: str


class Gate:
    """Let in who may come in: nobody's web page but ours and those of *origins*, and only who knows the token.

    Any thread may ask.
    """

    def __init__(self, host: str, origins: Iterable[str], token: str | None) -> None:
        if isinstance(origins, str):
            raise ConfigError(f"origins={origins!r:.80}: give a list of origins, such as ['https://chat.example.com'].")
        self.origins = frozenset(map(_origin, origins))
        if token is not None and not (isinstance(token, str) and plain(token).strip() and plain(token).isprintable()):
            raise ConfigError("token= is no string of printable characters; leave it out to let anybody in.")
        self._token = Secret.of(token)
        self._hosts = {host.lower(), *(urlsplit(each).hostname or "" for each in self.origins)}

    def __repr__(self) -> str:
        return f"<Gate {'with' if self.wants_token else 'without'} a token>"

    @property
    def wants_token(self) -> bool:
        """True where only who knows the token is served."""
        return self._token is not None

    def check(self, headers: Message[str, str]) -> None:
        """Make sure that the request is for us, and not on behalf of a stranger's web page.

        A name that is not ours can have been pointed at us by anyone (DNS rebinding); an address cannot. Who sends no
        ``Origin`` is no browser, or one that asks for what any page may show.

        Raises:
            Refusal: it is not.
        """
        host = headers.get("Host", "")
        if len(headers.get_all("Host", ())) > 1 or len(headers.get_all("Origin", ())) > 1:
            raise Refusal(400, "One host and one origin are enough.")
        if not self._is_ours(_hostname(host)):
            raise Refusal(421, f"This relay does not answer to the host {host!r:.100}; see origins=.")
        origin = headers.get("Origin")
        if origin is None:
            if headers.get("Sec-Fetch-Site", "none").lower() in ("cross-site", "same-site"):
                raise Refusal(403, "A web page of another site may not talk to this relay.")
        elif origin not in self.origins and not _is_same(origin, host):
            raise Refusal(403, f"Pages of {origin!r:.100} may not talk to this relay; see origins=.")

    def knows(self, token: object) -> bool:
        """Tell whether *token* is the one; takes the same time whatever it is."""
        if self._token is None:
            return True
        given = token if isinstance(token, str) else ""
        return hmac.compare_digest(plain(given).encode(errors="replace"), plain(self._token).encode(errors="replace"))

    def admits(self, headers: Message[str, str]) -> bool | None:
        """Tell whether the ``Authorization`` header holds the token; None where it is wanted and not there.

        Raises:
            Refusal: it holds something else.
        """
        if self._token is None:
            return True
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not self.knows(token.strip()):
            raise Refusal(401, "The token is not the one of this relay.")
        return True

    def _is_ours(self, host: str) -> bool:
        if is_loopback(host) or host in self._hosts:
            return bool(host)
        try:
            ip_address(host)
        except ValueError:
            return False
        return True


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = f"{parts.scheme}://{parts.netloc}".lower()
        right = parts.hostname and parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
        _ = parts.port
    except (ValueError, TypeError, AttributeError):
        whole, right = "", None
    if not right or parts.scheme not in _PORTS:
        raise ConfigError(f"origins: {text!r:.80} is no origin; one looks like 'https://chat.example.com'.")
    if "*" in whole:
        raise ConfigError(f"origins: {text!r:.80}: nothing stands for many sites here; list each of them.")
    if not whole.isascii():
        raise ConfigError(f"origins: {text!r:.80}: give it as browsers send it, with the 'xn--…' form of its name.")
    return whole.removesuffix(f":{_PORTS[parts.scheme]}")  # which browsers leave out


def _is_same(origin: str, host: str) -> bool:
    """Tell whether a page of *origin* came from *host*, a ``Host`` header; a proxy may have spoken TLS for us."""
    try:
        page = urlsplit(origin)
        ours = urlsplit(f"//{host}")
        port = _PORTS.get(page.scheme)
        return port is not None and page.hostname == ours.hostname and (page.port or port) == (ours.port or port)
    except ValueError:
        return False
