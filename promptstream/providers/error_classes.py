"""Status, codes and text of a refusal in, the class of error that stands for it out.

First whether money is out, since then waiting is in vain; then a code that means one thing; then the
text, where the status leaves room for it; then the status; then a code that could mean anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from promptstream.errors import (
    Authentication,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerError,
)

_TEMPORARY = (RateLimited, Overloaded, ServerError)
_VAGUE = (InvalidRequest, PermissionDenied, ServerError)
"""Classes whose codes are given for anything at all: ``invalid_request_error`` beside a wrong key."""
_NOT_WORD = re.compile(r"[^a-z0-9]")


def _key(code: str) -> str:
    """Give a code as all spell it: ``RateLimitError``, ``rate_limit_error`` and ``RATE_LIMIT`` are one."""
    return _NOT_WORD.sub("", code.lower()).removesuffix("error").removesuffix("exception")


_NAMES: dict[type[ProviderError], str] = {
    QuotaExceeded: (
        # OpenAI and those like it; Anthropic; OpenRouter; Moonshot; DashScope; Google; LiteLLM, One API, Novita, Ark
        "insufficient_quota billing_hard_limit_reached billing_not_active credit_balance_exhausted "
        "organization_spend_limit_exceeded project_spend_limit_exceeded billing_error payment_required "
        "exceeded_current_quota_error Arrearage FreeTierOnly CommodityNotPurchased PrepaidBillOverdue "
        "PostpaidBillOverdue BILLING_DISABLED budget_exceeded insufficient_user_quota NOT_ENOUGH_BALANCE "
        "AccountOverdueError"
    ),
    ContextTooLong: (
        "context_length_exceeded exceed_context_size_error model_context_window_exceeded "
        "max_tokens_exceeded token_limit_exceeded tokens_limit_reached"
    ),
    Authentication: (
        "invalid_api_key incorrect_api_key API_KEY_INVALID API_KEY_EXPIRED authentication_error UNAUTHENTICATED "
        "unauthorized"
    ),
    PermissionDenied: "permission_error permission_denied access_denied forbidden",
    NotFound: (
        "model_not_found not_found_error DeploymentNotFound no_endpoints model_deprecated model_decommissioned "
        "ModelNotExist unknown_model invalid_model"
    ),
    RateLimited: (
        "rate_limit_exceeded rate_limit_error RateLimitReached rate_limit_reached_error RESOURCE_EXHAUSTED "
        "Throttling limit_requests limit_burst_rate too_many_requests"
    ),
    Overloaded: (
        "overloaded_error server_is_overloaded model_overloaded engine_overloaded_error slow_down UNAVAILABLE "
        "service_unavailable provider_overloaded ModelServingError ModelUnavailable capacity_exceeded"
    ),
    ServerError: (
        "server_error api_error internal_error internal_server_error timeout_error RequestTimeOut "
        "DEADLINE_EXCEEDED CANCELLED ABORTED UNKNOWN provider_unavailable unmapped conflict_error vector_store_timeout"
    ),
    ContentFiltered: (
        "content_policy_violation content_filter content_filtered moderation moderation_blocked "
        "data_inspection_failed refusal bio_policy ResponsibleAIPolicyViolation"
    ),
    InvalidRequest: (
        "invalid_request_error invalid_prompt invalid_parameter_error bad_request INVALID_ARGUMENT "
        "FAILED_PRECONDITION OUT_OF_RANGE request_too_large payload_too_large unprocessable string_too_long "
        "not_supported_error tool_use_failed data_residency_mismatch"
    ),
}
_CODES = {_key(name): cls for cls, names in _NAMES.items() for name in names.split()}
_STATUSES: dict[int, type[ProviderError]] = {
    401: Authentication,
    402: QuotaExceeded,
    403: PermissionDenied,
    404: NotFound,
    408: ServerError,
    409: ServerError,
    425: ServerError,
    429: RateLimited,
    499: ServerError,  # Google's for CANCELLED
    503: Overloaded,
    529: Overloaded,
}
_PASSING = {500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
"""Those from 500 up after which the same request may work."""

_STREAM: set[int | None] = {None}
_REFUSED = _STREAM | {400, 403, 412, 413, 422}
"""The statuses that say no more than no."""
_NAMED = r"[`'\"]?[\w.:/@+-]*[`'\"]?"
_WORDS: tuple[tuple[type[ProviderError], set[int | None], tuple[str, ...]], ...] = (
    (
        ContextTooLong,
        _REFUSED | {500},
        (
            r"max(imum)? (context|prompt|model) length",
            r"context (length|window|size|limit).{0,40}exceed",
            r"(exceeds?|longer than) .{0,40}context",
            r"(prompt|input|request) is too long",
            r"prompt too long",
            r"input (token count|length).{0,60}exceed",
            r"input token count is \d+ but",  # Vertex
            r"exceeded model token limit",  # Moonshot
            r"range of input length should be",  # DashScope
            r"reduce the length of the (messages|prompt|input)",
            r"`inputs` (tokens \+ `max_new_tokens` must be|must have less than)",  # text-generation-inference
            r"too many tokens: size limit",  # Cohere
            r"context the overflows|context overflow",  # LM Studio
        ),
    ),
    (
        QuotaExceeded,
        _REFUSED | {402, 429},
        (
            r"(insufficient|not enough) (account )?(credits?|balance|funds)",
            r"balance is (insufficient|too low)|overdue balance",
            r"(used all|requires more|exceeded your|have any) (\w+ ){0,2}credits",
            r"credit limit exceeded|spending limit",
            r"reached your (\w+ ){0,3}usage limit",  # Anthropic, 400; Ollama's cloud, 429
            r"(free|hour|week|month) allocated quota exceeded",  # DashScope
            r"free-models-per-day|^key limit exceeded",  # OpenRouter
        ),
    ),
    (
        ContentFiltered,
        _REFUSED,
        (
            r"data_?inspection_?failed",  # DashScope, within the text
            r"may contain (inappropriate|sensitive) (content|information)",
            r"violat(es|ing) (our )?((usage|content|safety) )?(policy|policies|guidelines)",
            r"input was flagged",
            r"content (management|filtering) policy",
        ),
    ),
    (
        NotFound,
        _REFUSED,
        (
            rf"\bmodels?\b\s*{_NAMED},? (is |was |does |do )?not (found|exist)",
            r"not a valid model id",
            r"invalid model( name\b|:| ['\"`])",
        ),
    ),
    (
        Authentication,
        _REFUSED,
        (
            r"(invalid|incorrect) (x-)?api[- ](key|token)",
            r"api[- ]key (is )?(not valid|invalid|expired)",
            r"api[- ]key was reported as leaked",
            r"unregistered callers",  # Google's words for no key at all
            r"^(unauthorized|not authenticated|authentication error|invalid credentials)\b",
        ),
    ),
    (
        Overloaded,
        _STREAM,
        (
            r"\boverloaded\b|server (is )?busy|too busy",
            r"at capacity|capacity (temporarily )?exceeded",
            r"^loading model|is currently loading",
        ),
    ),
    (RateLimited, _STREAM, (r"rate.?limit", r"too many requests", r"throttl(ed|ing)")),
    (InvalidRequest, _STREAM, (r"does not support", r"is not supported", r"^invalid ")),
    (
        ServerError,
        _STREAM,
        (
            r"internal (server )?error",
            r"error was encountered while running",  # Ollama
            r"runner process (has terminated|no longer running)",  # Ollama
            r"timed out|timeout",
            r"bad gateway|gateway time-?out",
        ),
    ),
)
"""What texts mean, by the statuses that leave room for it. A status for what passes is believed: a wrong guess
would make a loop give up, or wait for nothing."""
_TEXTS = [(cls, statuses, re.compile("|".join(words), re.I)) for cls, statuses, words in _WORDS]
# DashScope's words for tokens per minute, under codes that elsewhere mean money.
_RECOVERS = re.compile(r"(?<![a-z] )allocated quota exceeded|error-code#token-limit", re.I)
_NEVER_FITS = re.compile(r"request too large for|tokens must be reduced", re.I)


def classify(status: int | None, codes: Iterable[str], message: str) -> type[ProviderError]:
    """Give the class for a *status* (None inside a 200 stream), the *codes* that were given, and the *message*."""
    known = [cls for cls in map(_by_code, codes) if cls is not None]
    said = _by_text(status, message)
    if QuotaExceeded in known or said is QuotaExceeded:
        return RateLimited if _RECOVERS.search(message) else QuotaExceeded
    for cls in known:
        if cls not in _VAGUE:
            return cls
    # A server that names its own failure is not corrected by a guess at its words.
    if said is not None and not (known and (issubclass(said, _TEMPORARY) or said is InvalidRequest)):
        return said
    by_status = _by_status(status)
    if by_status in (None, InvalidRequest) and PermissionDenied in known:
        return PermissionDenied
    return by_status or (known[0] if known else ProviderError)


def is_temporary(cls: type[ProviderError], status: int | None, message: str) -> bool:
    """Tell whether the same request may work later."""
    if not issubclass(cls, _TEMPORARY) or (status is not None and status >= 500 and status not in _PASSING):
        return False
    # A request that is larger than a whole minute's allowance never fits into one.
    return not (cls is RateLimited and _NEVER_FITS.search(message))


def _by_code(code: str) -> type[ProviderError] | None:
    """Look up a code, then the last and the first of its parts: ``Throttling.RateQuota``."""
    parts = code.split(".")
    for part in (code, parts[-1], parts[0]):
        if (cls := _CODES.get(_key(part))) is not None:
            return cls
    return None


def _by_text(status: int | None, message: str) -> type[ProviderError] | None:
    for cls, statuses, pattern in _TEXTS:
        if status in statuses and pattern.search(message):
            return cls
    return None


def _by_status(status: int | None) -> type[ProviderError] | None:
    if status is None:
        return None
    return _STATUSES.get(status) or (ServerError if status >= 500 else InvalidRequest)
