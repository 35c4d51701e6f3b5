"""The faults of the status, rows 11 to 13 and 18 to 22: what a server says in place of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dialects import DIALECTS, TEXT, Dialect
from faults.core import Fault, Outcome, Scene, Step
from faults.says import body, good, say, then, top
from server import LAST_CHUNK, full, head, http_chunk
from wires.base import KEY, dumps

from promptstream import Retry
from promptstream.errors import (
    Authentication,
    ContextTooLong,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    ProtocolError,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerError,
)

BOTH = ("stream", "whole")
TWICE = Retry(2, base=0.001)
OPENAI = ("chat", "completions", "responses")
CODES = {
    "400": ("bad_thing", "invalid_request_error", "INVALID_ARGUMENT"),
    "401": ("invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    "403": ("forbidden", "permission_error", "PERMISSION_DENIED"),
    "404": ("model_not_found", "not_found_error", "NOT_FOUND"),
    "413": ("too_large", "request_too_large", "INVALID_ARGUMENT"),
    "429": ("rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "503": ("server_is_overloaded", "overloaded_error", "UNAVAILABLE"),
    "529": ("server_is_overloaded", "overloaded_error", "UNAVAILABLE"),
}
"""The code of a status: OpenAI's, Anthropic's and Gemini's; Ollama has none."""
OTHER = ("server_error", "api_error", "INTERNAL")
WORDS = "The reason, in words"


def code_of(dialect: Dialect, status: str) -> str | None:
    """Give the code that a server of *dialect* gives with a *status*."""
    openai, anthropic, gemini = CODES.get(status[:3], OTHER)
    return {"anthropic": anthropic, "gemini": gemini, "ollama": None}.get(dialect.name, openai)


def codes(status: str) -> dict[str, dict[str, Any]]:
    """Give what differs by dialect in the outcome of a *status*."""
    return {name: {"code": code_of(dialect, status)} for name, dialect in DIALECTS.items()}


def said(dialect: Dialect, status: str, words: str = WORDS, code: str | None = None, **more: Any) -> dict[str, Any]:
    """Give an error object as a server of *dialect* would; *more* goes into the innermost one."""
    code = code or code_of(dialect, status)
    if dialect.name == "ollama":
        return {"error": words}
    if dialect.name == "anthropic":
        return {"type": "error", "error": {"type": code, "message": words, **more}, "request_id": "req-in-the-body"}
    if dialect.name == "gemini":
        return {"error": {"code": int(status[:3]), "message": words, "status": code, **more}}
    return {"error": {"message": words, "type": "some_error", "param": None, "code": code, **more}}


def refusal(dialect: Dialect, status: str, words: str = WORDS, **headers: str) -> bytes:
    """Give a whole HTTP error."""
    named = {(dialect.wire.id_header or "x-request-id").replace("-", "_"): "req-of-the-fault"}
    return full(f"{status} No", dumps(said(dialect, status, words)), **named, **headers)


def has_the_request_id(scene: Scene) -> None:
    """Check that the error names the request, as the headers do."""
    assert isinstance(scene.error, ProviderError)
    assert scene.error.request_id in ("req-of-the-fault", "req-in-the-body"), scene.error.request_id


# 11 to 13: what each status means


def refused(status: str, kind: type[ProviderError], row: int = 11, name: str = "", **options: Any) -> Fault:
    """Make a status that trying again does not mend."""
    words = options.pop("words", WORDS)
    return Fault(
        row,
        name or f"status {status}",
        step=lambda dialect: say(refusal(dialect, status, words)),
        retry=TWICE,
        modes=BOTH,
        per=codes(status),
        also=has_the_request_id,
        outcome=Outcome(
            kind, text="", phase="headers", retryable=False, status=int(status), retry_after=None, says=words
        ),
        **options,
    )


def passing(status: int, kind: type[ProviderError]) -> tuple[Fault, Fault]:
    """Make a status that trying again may mend, for good and for once."""
    refuse: Callable[[Dialect], Step] = lambda dialect: say(refusal(dialect, str(status)))  # noqa: E731
    outcome = Outcome(kind, text="", phase="headers", retryable=True, status=status, says=WORDS, requests=2, attempts=2)
    return (
        Fault(13, f"status {status}", step=refuse, retry=TWICE, modes=BOTH, per=codes(str(status)), outcome=outcome),
        Fault(
            13,
            f"status {status} once",
            step=lambda dialect: (refuse(dialect), good(dialect)),
            retry=TWICE,
            outcome=Outcome(text=TEXT, finish="stop", requests=2),
        ),
    )


def spent(dialect: Dialect) -> Step:
    """Say with 429 that the quota is spent, in the words of each provider."""
    words, code, more = "You exceeded your current quota.", "insufficient_quota", {}
    if dialect.name == "anthropic":
        words, code = "Your credit balance is too low.", "billing_error"
    elif dialect.name == "gemini":
        code = "RESOURCE_EXHAUSTED"
        more = {
            "details": [
                {"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s"},
            ]
        }
    elif dialect.name == "ollama":
        words = "you have reached your weekly usage limit"
    return say(full("429 No", dumps(said(dialect, "429", words, code, **more))))


MEANINGS = (
    refused("400", InvalidRequest),
    refused("422", InvalidRequest),
    refused("401", Authentication),
    refused("403", PermissionDenied),
    refused("404", NotFound),
    refused("413", InvalidRequest),
    refused("418", InvalidRequest),
    Fault(
        11,
        "a prompt that does not fit",
        step=lambda dialect: say(
            full(f"{dialect.wire.refusal('context').status} No", dumps(dialect.wire.refusal("context").body))
        ),
        retry=TWICE,
        modes=BOTH,
        outcome=Outcome(ContextTooLong, text="", phase="headers", retryable=False, status=400),
    ),
    refused("402", QuotaExceeded, 12),
    Fault(
        12,
        "429 where the quota is spent",
        step=spent,
        retry=TWICE,
        modes=BOTH,
        outcome=Outcome(QuotaExceeded, text="", phase="headers", retryable=False, status=429, retry_after=None),
    ),
    *passing(408, ServerError),
    *passing(409, ServerError),
    *passing(425, ServerError),
    *passing(429, RateLimited),
    *passing(500, ServerError),
    *passing(502, ServerError),
    *passing(503, Overloaded),
    *passing(504, ServerError),
    *passing(529, Overloaded),
    Fault(
        13,
        "status 500 with x-should-retry: false",
        step=lambda dialect: say(refusal(dialect, "500", x_should_retry="false")),
        retry=TWICE,
        outcome=Outcome(ServerError, text="", status=500, retryable=False),
    ),
    Fault(
        13,
        "status 501, which does not pass",
        step=lambda dialect: say(refusal(dialect, "501")),
        retry=TWICE,
        outcome=Outcome(ServerError, text="", status=501, retryable=False),
    ),
    Fault(
        13,
        "status 500 on a pooled connection",
        step=lambda dialect: say(refusal(dialect, "500")),
        reused=True,
        outcome=Outcome(ServerError, text="", status=500, retryable=True),
    ),
)


# 18 to 22: what is no error, and no answer

TARGETS = {
    "to another host": ("https://elsewhere.invalid/v1?q=1", "elsewhere.invalid"),
    "to a host with a password": ("https://us:pass@elsewhere.invalid/", "elsewhere.invalid"),
    "to a path": ("/v2/chat", "redirects to"),
    "to nowhere": (None, "redirects to"),
    "to rubbish": ("http://[::1", "redirects to"),
    "with the key": (f"https://elsewhere.invalid/?key={KEY}", "elsewhere.invalid"),
    "to the key": (f"https://{KEY}/", "redirects to"),
}


def redirect(status: int, words: str) -> Fault:
    """Make a redirect, which is never followed."""
    location, says = TARGETS[words]

    def names_the_host_alone(scene: Scene) -> None:
        text = str(scene.error)
        assert not any(each in text for each in ("pass", "q=1", "/v1", "https:")), text

    headers = {} if location is None else {"Location": location}
    return Fault(
        18,
        f"status {status} {words}",
        step=lambda dialect: say(full(f"{status} There", b"", None, **headers)),
        retry=TWICE,
        modes=BOTH,
        also=names_the_host_alone,
        outcome=Outcome(ProtocolError, text="", phase="headers", retryable=False, says=says),
    )


def empty(name: str, answer: Callable[[Dialect], bytes]) -> Fault:
    """Make an answer without an answer."""
    return Fault(
        19,
        name,
        step=lambda dialect: then(answer(dialect), lambda conn: conn.end()),
        retry=TWICE,
        modes=BOTH,
        outcome=Outcome(ProtocolError, text="", phase="body", retryable=False),
    )


def mislabelled(name: str, label: str | None, **headers: str) -> Fault:
    """Make a good streamed answer that is called something else."""

    def step(dialect: Dialect) -> Step:
        events = body(dialect)
        if "Transfer_Encoding" in headers:
            return say(head(content_type=label, **headers) + http_chunk(events) + LAST_CHUNK)
        return then(head(content_type=label, **headers) + events, lambda conn: conn.end())

    return Fault(22, name, step=step, outcome=Outcome(text=TEXT, finish="stop"))


ODDITIES = (
    *(redirect(status, "to another host") for status in (301, 302, 303, 307, 308)),
    *(redirect(307, words) for words in TARGETS if words != "to another host"),
    Fault(
        18,
        "status 304, which is no redirect",
        step=lambda dialect: say(full("304 Not Modified", b"", None)),
        retry=TWICE,
        outcome=Outcome(ProtocolError, text="", phase="headers", retryable=False, says="304"),
    ),
    empty("status 204", lambda dialect: head("204 No Content", None)),
    empty("200 of no bytes, by length", lambda dialect: top(dialect, Content_Length="0")),
    empty("200 of no bytes, in chunks", lambda dialect: top(dialect, Transfer_Encoding="chunked") + LAST_CHUNK),
    empty("200 of no bytes, by the end", lambda dialect: top(dialect, Connection="close")),
    empty("200 of blank lines", lambda dialect: top(dialect, Connection="close") + b"\n\n\r\n"),
    Fault(
        20,
        "200 with an error in JSON",
        step=lambda dialect: say(full("200 OK", dumps(said(dialect, "500")))),
        modes=BOTH,
        outcome=Outcome(ServerError, text="", phase="body", says=WORDS),
        per={name: {"code": code_of(dialect, "500")} for name, dialect in DIALECTS.items() if name != "ollama"}
        | {"ollama": {"error": ProviderError, "code": None}},
    ),
    Fault(
        20,
        "200 with a whole answer, although a stream was asked for",
        step=lambda dialect: say(full("200 OK", dialect.whole())),
        modes=BOTH,
        outcome=Outcome(text=TEXT, finish="stop"),
    ),
    Fault(
        20,
        "200 with a stream, although a whole answer was asked for",
        step=good,
        modes=("whole",),
        outcome=Outcome(text=TEXT, finish="stop"),
    ),
    *(
        Fault(
            21,
            f"200 with a page{words}",
            step=lambda dialect, label=label: say(full("200 OK", "<html>Log in to the hotel.</html>", label)),
            modes=BOTH,
            retry=TWICE,
            outcome=Outcome(ProtocolError, text="", retryable=False),
        )
        for words, label in (
            ("", "text/html; charset=utf-8"),
            (" of no type", None),
            (" called JSON", "application/json"),
        )
    ),
    mislabelled("a stream called text/plain", "text/plain", Connection="close"),
    mislabelled("a stream of no type", None, Connection="close"),
    mislabelled("a stream called JSON", "application/json", Transfer_Encoding="chunked"),
    mislabelled("a stream called octets", "application/octet-stream", Transfer_Encoding="chunked"),
)

FAULTS = (*MEANINGS, *ODDITIES)
