"""A provider's status, headers and body in, the error that stands for them out.

The same way serves HTTP errors and errors inside a 200 stream, so that a loop catches one class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from promptstream.errors import (
    Authentication,
    ContentFiltered,
    ContextTooLong,
    LimitExceeded,
    NotFound,
    Overloaded,
    ProtocolError,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerError,
)
from promptstream.values.secret import Secret
from promptstream.wire.jsontext import loads

MAX_TEXT = 500
_MAX_CODE = 60
_MAX_ID = 200
_MAX_READ = 10_000
"""Characters of a message that are searched for what it means."""
_STATUS = re.compile(r"[1-5][0-9][0-9]", re.ASCII)
_NO_CODE = re.compile(rf"|0|{_STATUS.pattern}|error|none|null|about:blank|https?:.*", re.ASCII | re.I | re.S)
"""What stands at the place of a code and is none: a status, a kind of nothing, the address of an explanation."""
_MESSAGES = (
    "message",
    "detail",
    "error",
    "msg",
    "error_msg",
    "error_message",
    "error_description",
    "description",
    "status_msg",
    "title",
)
"""What servers call their words for people; the first that is there counts."""
_SAYS_NOTHING = ("", "Provider returned error", "Upstream error", "error")
_IDENTITIES = (
    "x-request-id",
    "request-id",
    "x-generation-id",
    "x-dashscope-request-id",
    "apim-request-id",
    "x-amzn-requestid",
)
_HINTS: dict[type[ProviderError], str] = {
    Authentication: "Check the key.",
    QuotaExceeded: "Waiting does not help: see to the account's credit and quota.",
    NotFound: "Check the model's name and base_url.",
    ContextTooLong: "Shorten the conversation or the answer's max_tokens.",
}


@attrs.frozen(eq=False)
class _Said:
    """What an error object says, whatever its shape."""

    message: str = ""
    codes: tuple[str, ...] = ()
    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    retryable: bool | None = None
    verdict: type[ProviderError] | None = None
    """The class, where the details leave no doubt."""


def http_error(provider: str, secret: Secret, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Give the error for an HTTP *status* with its (bounded) *body*, whatever shape that has."""
    from promptstream.providers.rate_headers import rate_limits
    from promptstream.providers.retry_hints import retry_after

    headers = {name.lower(): value for name, value in headers.items()}
    content_type = headers.get("content-type", "").partition(";")[0].strip()
    text = body.decode("utf-8-sig", errors="replace").strip()
    said = _parsed(text)
    if said is None:
        if "html" in content_type or text.startswith("<"):
            text = ""
        said = {"message": text or f"no explanation ({content_type or 'no content type'}, {len(body)} bytes)"}
    error = said_error(provider, secret, said, status)
    if error.request_id is None:
        error.request_id = _identity(secret, request_id(headers) or headers.get("cf-ray"))
    error.phase = "headers"
    error.retry_after = retry_after(headers) or error.retry_after
    error.rate_limits = rate_limits(headers)
    should_retry = headers.get("x-should-retry")
    if should_retry in ("true", "false"):
        error.retryable = should_retry == "true"
    return error


def said_error(provider: str, secret: Secret, said: Any, status: int | None = None) -> ProviderError:
    """Give the error for what a provider *said*: an error object, a string, a list of one, or a body around one."""
    from promptstream.providers.error_classes import classify, is_temporary  # patterns: only who fails pays for them

    read = _read(said)
    status = status if status is not None else read.status
    cls = read.verdict or classify(status, read.codes, read.message)
    code = cleaned(secret.scrub(read.codes[0]), _MAX_CODE) if read.codes else ""
    text = cleaned(secret.scrub(read.message or _quoted(said, read)), MAX_TEXT) or "no explanation"
    where = ", ".join(filter(None, (f"status {status}" if status else "", code)))
    hint = _HINTS.get(cls, "")
    retryable = is_temporary(cls, status, read.message) if read.retryable is None else read.retryable
    # A "try again in …" beside a quota would make a loop wait for nothing.
    can_wait = retryable or issubclass(cls, (RateLimited, Overloaded, ServerError))
    return cls(
        f"{provider} says: {text.rstrip('.')}{f' ({where})' if where else ''}. {hint}".rstrip(),
        status=status,
        code=code or None,
        request_id=_identity(secret, read.request_id),
        provider=provider,
        phase="body",
        retryable=retryable,
        retry_after=read.retry_after if can_wait else None,
    )


def request_id(headers: Mapping[str, str]) -> str | None:
    """Give the provider's name for the request, from its headers, or None."""
    return next((found for name in _IDENTITIES if (found := headers.get(name))), None)


def _parsed(text: str) -> Any:
    """Give the JSON value of a body, also where it came as one server-sent event; None where there is none."""
    lines = [line[5:].strip() for line in text.split("\n") if line.startswith("data:")]
    for candidate in (text, "\n".join(lines)):
        try:
            return loads(candidate)
        except (ProtocolError, LimitExceeded):
            continue
    return None


def _read(said: Any) -> _Said:
    """Find message, codes, status and request id in the shapes that servers use."""
    outer = _opened(said)
    if not isinstance(outer, dict):
        return _Said(str(outer)[:_MAX_READ])
    error = outer.get("error") or outer.get("errors")
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, str):
        return _read_object({**outer, "message": _joined(error, _words_in({**outer, "error": None}))}, outer)
    return _read_object(error if isinstance(error, dict) else outer, outer)


def _opened(said: Any) -> Any:
    """Take away what stands around a body: Gemini's list of one, Responses' ``response``, MiniMax's ``base_resp``."""
    if isinstance(said, list) and said:
        said = said[0]
    if isinstance(said, dict):
        for name, sign in (("response", "error"), ("base_resp", "status_code")):
            if _dict(said, name).get(sign):
                return said[name]
    return said


def _read_object(error: dict[str, Any], outer: dict[str, Any]) -> _Said:
    from promptstream.providers.retry_hints import retry_in

    metadata = _dict(error, "metadata")
    message = _message(error, metadata)[:_MAX_READ]
    return _Said(
        message,
        tuple(_codes(error, metadata)),
        _status(error, outer),
        _text(outer, "request_id") or _text(error, "request_id") or None,
        retry_in(error, message),
        next((said for place in (_dict(error, "availability"), error) if (said := _flag(place)) is not None), None),
        _verdict(error, metadata),
    )


def _message(error: dict[str, Any], metadata: dict[str, Any]) -> str:
    message = _words_in(error)
    if message.strip().rstrip(".") not in _SAYS_NOTHING:
        return message
    # OpenRouter: what the upstream provider said is in metadata.
    upstream = _upstream(metadata)
    name = _text(metadata, "provider_name")
    return ": ".join(filter(None, (f"{message} ({name})" if message and name else message, upstream)))


def _upstream(metadata: dict[str, Any]) -> str:
    raw = metadata.get("raw")
    if isinstance(raw, str) and raw.lstrip()[:1] in ("{", "["):
        parsed = _parsed(raw)
        raw = raw if parsed is None else parsed
    if isinstance(raw, (str, dict, list)) and (words := _words(raw).strip()):
        return words
    earlier = metadata.get("previous_errors")
    last = earlier[-1] if isinstance(earlier, list) and earlier else None
    return _text(last, "message") if isinstance(last, dict) else ""


def _quoted(said: Any, read: _Said) -> str:
    """Give the whole object, where nothing in it is known by its name."""
    return str(said) if isinstance(said, dict) and any(said.values()) and not read.codes else ""


def _words_in(place: dict[str, Any]) -> str:
    """Give what *place* says to people, under the first of the names that servers have for it."""
    return next((words for name in _MESSAGES if (words := _words(place.get(name)))), "")


def _words(value: Any) -> str:
    """Give a text, or the texts inside an object or a list: FastAPI's says of each what is wrong where."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_words, value)))
    if isinstance(value, dict) and value:
        where = value.get("loc")
        place = f"{'.'.join(map(str, where))}: " if isinstance(where, list) else ""
        return place + (_words_in(value) or str(value))
    return "" if not value or value is True else str(value)


def _codes(error: dict[str, Any], metadata: dict[str, Any]) -> Iterator[str]:
    """Give every word, or number of its own, for what happened, the provider's own code first."""
    for place, name in (
        (error, "code"),
        (error, "error_code"),
        (error, "status_code"),
        (error, "error_type"),
        (metadata, "error_type"),
        (error, "type"),
        (error, "status"),
        (error, "reason"),
        (_dict(error, "availability"), "code"),
        (metadata, "provider_code"),
    ):
        code = place.get(name)
        if isinstance(code, int) and not isinstance(code, bool):
            code = str(code)
        if isinstance(code, str) and not _NO_CODE.fullmatch(code):
            yield code
    for detail in _details(error):
        if reason := _text(detail, "reason"):
            yield reason


def _status(error: dict[str, Any], outer: dict[str, Any]) -> int | None:
    for place in (error, outer):
        for name in ("status_code", "http_status", "statusCode", "code", "status"):
            value = place.get(name)
            if isinstance(value, str) and _STATUS.fullmatch(value):
                value = int(value)
            if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
                return value
    return None


def _verdict(error: dict[str, Any], metadata: dict[str, Any]) -> type[ProviderError] | None:
    if any(metadata.get(name) for name in ("flagged_input", "reasons", "patterns")):
        return ContentFiltered  # OpenRouter's moderation and guardrails
    for detail in _details(error):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            # Google gives a wait of seconds beside a quota that comes back tomorrow.
            if isinstance(violation, dict) and "perday" in _text(violation, "quotaId").lower():
                return QuotaExceeded
    return None


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _joined(error: str, message: Any) -> str:
    return f"{error}: {message}" if isinstance(message, str) and message and message != error else error


def _dict(place: dict[str, Any], name: str) -> dict[str, Any]:
    value = place.get(name)
    return value if isinstance(value, dict) else {}


def _text(place: dict[str, Any], name: str) -> str:
    value = place.get(name)
    return value if isinstance(value, str) else ""


def _flag(place: dict[str, Any]) -> bool | None:
    value = place.get("retryable")
    return value if isinstance(value, bool) else None


def _identity(secret: Secret, identity: str | None) -> str | None:
    return cleaned(secret.scrub(identity), _MAX_ID) if identity else None


def cleaned(text: str, longest: int) -> str:
    """Escape what could drive a terminal, and bound *text*, escapes and all."""
    shown = "".join([c if c.isprintable() else " " if c in "\n\r\t" else ascii(c)[1:-1] for c in text[: longest + 1]])
    return shown if len(shown) <= longest else f"{shown[:longest]}…"
