"""A library's exception in, our error for it out, with what lies at the bottom of it."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator

from promptstream.errors import ConnectFailed, ProtocolError, StreamError, Truncated


def translate(error: Exception, phase: str, host: str) -> StreamError:
    """Give our error for what requests, urllib3, http.client, ssl or the socket raised in *phase*."""
    causes = list(causes_of(error))
    what = detail(causes)
    if phase == "dns":
        return ConnectFailed(
            f"The host of {host} was not found: {what}. Check base_url and the network.", phase=phase, retryable=True
        )
    if phase == "proxy" or (phase in ("connect", "tls") and any(type(c).__name__ == "ProxyError" for c in causes)):
        return ConnectFailed(f"No connection to {host} through the proxy: {what}.", phase="proxy", retryable=True)
    if phase == "tls" or any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return ConnectFailed(
            f"No secure connection to {host}: {what}. Check the certificate and the https:// address.", phase="tls"
        )
    if phase == "connect":
        return ConnectFailed(
            f"No connection to {host}: {what}. Is it running, and is base_url right?", phase=phase, retryable=True
        )
    if phase in ("send", "headers"):
        # All of requests' own exceptions are OSErrors too, and say nothing.
        if any(isinstance(cause, OSError) and not _is_requests(cause) for cause in causes):
            return ConnectFailed(
                f"{host} closed the connection without an answer: {what}.", phase=phase, retryable=phase == "send"
            )
        return ProtocolError(f"{host} does not answer in HTTP: {what}.", phase=phase)
    return Truncated(f"The answer was cut: {what}.", phase=phase)


def _is_requests(error: BaseException) -> bool:
    return type(error).__module__.startswith("requests")


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Give *error* and all it was made from: libraries wrap by cause, by context and by argument."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            pending += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


def detail(causes: list[BaseException]) -> str:
    """Say in a few words what lies at the bottom of it."""
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "timed out"
    bottom = causes[-1]
    said = "".join([character if character.isprintable() else " " for character in str(bottom)[:200]])
    # A bare HTTPException is our own, of wire/body.py, and its name would tell a reader nothing.
    return (said if type(bottom) is http.client.HTTPException else f"{type(bottom).__name__}: {said}").rstrip(". :")
