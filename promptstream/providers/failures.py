"""A provider's status, code and text in, the error that stands for them out.

The same table serves HTTP errors and errors inside a 200 stream, so that a loop catches one class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptstream.errors import (
    Authentication,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    Overloaded,
    PermissionDenied,
    ProtocolError,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerError,
)
from promptstream.values.secret import Secret
from promptstream.wire.jsontext import loads

MAX_TEXT = 500

_CODES: dict[str, type[ProviderError]] = {
    "insufficient_quota": QuotaExceeded,
    "billing_hard_limit_reached": QuotaExceeded,
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "invalid_api_key": Authentication,
    "authentication_error": Authentication,
    "permission_error": PermissionDenied,
    "model_not_found": NotFound,
    "not_found_error": NotFound,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "overloaded_error": Overloaded,
    "server_is_overloaded": Overloaded,
    "server_error": ServerError,
    "api_error": ServerError,
    "internal_error": ServerError,
    "internal_server_error": ServerError,
    "content_policy_violation": ContentFiltered,
    "content_filter": ContentFiltered,
    "data_inspection_failed": ContentFiltered,
    "invalid_request_error": InvalidRequest,
}
_STATUSES: dict[int, type[ProviderError]] = {
    401: Authentication,
    402: QuotaExceeded,
    403: PermissionDenied,
    404: NotFound,
    408: ServerError,
    409: ServerError,
    425: ServerError,
    429: RateLimited,
    503: Overloaded,
    529: Overloaded,
}
_RETRYABLE = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
_TOO_LONG = re.compile(
    r"max(imum)? context length|context (length|window|size).{0,40}exceed|exceeds? .{0,40}context|prompt is too long",
    re.I,
)
_STATUS = re.compile(r"[1-5][0-9][0-9]")
_NO_CREDIT = re.compile(r"credit balance|insufficient (credit|balance|funds)", re.I)
_HINTS: dict[type[ProviderError], str] = {
    Authentication: "Check the key.",
    QuotaExceeded: "Waiting does not help: see to the account's credit.",
    NotFound: "Check the model's name and base_url.",
    ContextTooLong: "Shorten the conversation or the answer's max_tokens.",
}


def http_error(provider: str, secret: Secret, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Give the error for an HTTP *status* with its (bounded) *body*, whatever shape that has."""
    content_type = headers.get("content-type", "").partition(";")[0].strip()
    try:
        said: Any = loads(body.decode(errors="replace").strip())
    except (ProtocolError, LimitExceeded):
        said = None
    if said is None:
        text = "" if "html" in content_type or body.lstrip()[:1] == b"<" else body.decode(errors="replace").strip()
        said = {"message": text or f"no explanation ({content_type or 'no content type'}, {len(body)} bytes)"}
    error = said_error(provider, secret, said, status)
    if error.request_id is None and (identity := request_id(headers)) is not None:
        error.request_id = secret.scrub(identity)
    error.phase = "headers"
    error.retry_after = retry_after(headers) or error.retry_after
    should_retry = headers.get("x-should-retry")
    if should_retry in ("true", "false"):
        error.retryable = should_retry == "true"
    return error


def said_error(provider: str, secret: Secret, said: Any, status: int | None = None) -> ProviderError:
    """Give the error for what a provider *said*: an error object, a string, or a body around one."""
    message, code, kind, stated, request = _read(said)
    code, kind = secret.scrub(code), secret.scrub(kind)
    status = status if status is not None else stated
    cls = _classify(status, code, kind, message)
    text = _clean(secret.scrub(message)) or "no explanation"
    where = ", ".join(filter(None, (f"status {status}" if status else "", _clean(code)[:60])))
    hint = _HINTS.get(cls, "")
    return cls(
        f"{provider} says: {text.rstrip('.')}{f' ({where})' if where else ''}. {hint}".rstrip(),
        status=status,
        code=code or kind or None,
        request_id=None if request is None else secret.scrub(request),
        provider=provider,
        phase="body",
        retryable=issubclass(cls, (RateLimited, Overloaded, ServerError)) and (status is None or status in _RETRYABLE),
    )


def _read(said: Any) -> tuple[str, str, str, int | None, str | None]:
    """Find message, code, type, status and request id in the shapes that servers use."""
    if isinstance(said, list) and said:
        said = said[0]
    outer = said if isinstance(said, dict) else {}
    error = outer.get("error") or said
    if not isinstance(error, dict):
        return str(error), "", "", None, None
    message = error.get("message") or error.get("detail") or error.get("error_msg") or ""
    code = error.get("code")
    status = error.get("status_code")
    if isinstance(code, int) or (isinstance(code, str) and _STATUS.fullmatch(code)):
        status, code = (int(code) if status is None else status), ""
    kind = error.get("type")
    request = outer.get("request_id") or error.get("request_id")
    return (
        message if isinstance(message, str) else str(message),
        code if isinstance(code, str) else "",
        kind if isinstance(kind, str) else "",
        status if isinstance(status, int) and 100 <= status < 600 else None,
        request if isinstance(request, str) else None,
    )


def _classify(status: int | None, code: str, kind: str, message: str) -> type[ProviderError]:
    if status in (None, 400, 413, 422) and _TOO_LONG.search(message):
        return ContextTooLong
    if status in (None, 400, 402, 403) and _NO_CREDIT.search(message):
        return QuotaExceeded
    by_code = _CODES.get(code) or (_CODES.get(kind) if status is None or kind == "insufficient_quota" else None)
    if by_code is not None and not (by_code is InvalidRequest and status not in (None, 400)):
        return by_code
    if status is None:
        return ProviderError
    return _STATUSES.get(status) or (ServerError if status >= 500 else InvalidRequest)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Give the seconds that Retry-After (RFC 9110 section 10.2.3) or retry-after-ms ask for, above 0, or None."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * scale
        except ValueError:
            seconds = _until(value)
        if 0 < seconds < float("inf"):
            return seconds
    return None


def _until(date: str) -> float:
    from datetime import datetime, timezone
    from email.utils import parsedate_to_datetime

    try:
        until = parsedate_to_datetime(date)
        if until.tzinfo is None:  # the asctime form, which is UTC (RFC 9110 section 5.6.7)
            until = until.replace(tzinfo=timezone.utc)
        return (until - datetime.now(timezone.utc)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def request_id(headers: Mapping[str, str]) -> str | None:
    """Give the provider's name for the request, from its headers, or None."""
    return headers.get("x-request-id") or headers.get("request-id") or headers.get("x-generation-id")


def _clean(text: str) -> str:
    """Bound *text* and escape what could drive a terminal."""
    cut = text[:MAX_TEXT] + ("…" if len(text) > MAX_TEXT else "")
    return "".join([c if c.isprintable() else " " if c in "\n\r\t" else ascii(c)[1:-1] for c in cut])
