"""Status, codes and text of a refusal in, the class of error that stands for it out.

What says most goes first: a code that means one thing, then the text, then the status, then a vague code.
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
_NOT_WORD = re.compile(r"[^a-z0-9]")


def _key(code: str) -> str:
    """Give a code as all spell it: ``InvalidApiKey``, ``invalid_api_key`` and ``INVALID_API_KEY`` are one."""
    return _NOT_WORD.sub("", code.lower())


_NAMES: dict[type[ProviderError], str] = {
    QuotaExceeded: (
        # OpenAI and those like it; Anthropic; OpenRouter; Moonshot; DashScope; Google
        "insufficient_quota billing_hard_limit_reached billing_not_active credit_balance_exhausted "
        "organization_spend_limit_exceeded project_spend_limit_exceeded billing_error payment_required "
        "exceeded_current_quota_error Arrearage FreeTierOnly CommodityNotPurchased PrepaidBillOverdue "
        "PostpaidBillOverdue BILLING_DISABLED"
    ),
    ContextTooLong: (
        "context_length_exceeded exceed_context_size_error model_context_window_exceeded "
        "max_tokens_exceeded token_limit_exceeded"
    ),
    Authentication: (
        "invalid_api_key API_KEY_INVALID API_KEY_EXPIRED authentication_error authentication UNAUTHENTICATED "
        "unauthorized UnauthorizedError AuthenticationError incorrect_api_key"
    ),
    PermissionDenied: "permission_error permission_denied access_denied forbidden PermissionDeniedError",
    NotFound: (
        "model_not_found not_found_error not_found NotFoundError DeploymentNotFound no_endpoints model_deprecated "
        "ModelNotExist unknown_model invalid_model"
    ),
    RateLimited: (
        "rate_limit_exceeded rate_limit_error rate_limit RateLimitReached rate_limit_reached_error RateLimitError "
        "RESOURCE_EXHAUSTED Throttling limit_requests limit_burst_rate LimitRequests too_many_requests"
    ),
    Overloaded: (
        "overloaded_error overloaded server_is_overloaded model_overloaded engine_overloaded_error slow_down "
        "UNAVAILABLE unavailable_error service_unavailable provider_overloaded ModelServingError ModelUnavailable"
    ),
    ServerError: (
        "server_error server api_error internal_error internal_server_error InternalServerError INTERNAL "
        "timeout_error timeout RequestTimeOut DEADLINE_EXCEEDED CANCELLED ABORTED UNKNOWN provider_unavailable "
        "unmapped conflict_error vector_store_timeout"
    ),
    ContentFiltered: (
        "content_policy_violation content_filter content_filtered moderation moderation_blocked "
        "data_inspection_failed refusal bio_policy ResponsibleAIPolicyViolation"
    ),
    InvalidRequest: (
        "invalid_request_error invalid_request invalid_prompt invalid_parameter_error InvalidParameter "
        "BadRequestError bad_request INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE request_too_large "
        "payload_too_large unprocessable string_too_long not_supported_error tool_use_failed "
        "data_residency_mismatch"
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

_TOKENS = r"[`'\"]?[\w.:/@+-]*[`'\"]?"
_WORDS: tuple[tuple[type[ProviderError], set[int | None], tuple[str, ...]], ...] = (
    (
        ContextTooLong,
        {None, 400, 413, 422, 500},
        (
            r"max(imum)? (context|prompt) length",
            r"context (length|window|size|limit).{0,40}exceed",
            r"exceeds? .{0,40}context",
            r"(prompt|input|request) is too long",
            r"prompt too long",
            r"input (token count|length).{0,60}exceed",
            r"range of input length should be",  # DashScope
            r"reduce the length of the (messages|prompt|input)",
            r"`inputs` tokens \+ `max_new_tokens` must be",  # text-generation-inference
        ),
    ),
    (
        QuotaExceeded,
        {None, 400, 402, 403, 429},
        (
            r"credit balance",
            r"insufficient (credit|balance|funds)",
            r"requires more credits",
            r"reached your specified (api )?usage limits",  # Anthropic, 400
            r"free (allocated )?quota (is |has been )?(exceeded|exhausted)",
            r"free[ -]tier of the model has been exhausted",
            r"account is in good standing",  # DashScope's Arrearage
            r"free-models-per-day",  # OpenRouter
        ),
    ),
    (
        ContentFiltered,
        {None, 400, 403},
        (
            r"data_?inspection_?failed",
            r"input (text |image )?data may contain inappropriate content",
            r"flagged as potentially violating",
            r"input was flagged",
            r"content management policy",
        ),
    ),
    (
        NotFound,
        {None, 400, 422},
        (
            rf"\bmodels?\b\s*{_TOKENS},? (is |was |does |do )?not (found|exist)",
            r"not a valid model id",
            r"invalid model:",
        ),
    ),
    (
        Authentication,
        {None, 400, 403},
        (
            r"(invalid|incorrect) (x-)?api[- ]key",
            r"api[- ]key (is )?(not valid|invalid|expired)",
            r"api[- ]key was reported as leaked",
            r"unregistered callers",  # Google's words for no key at all
            r"^unauthorized\b",
        ),
    ),
    (
        Overloaded,
        {None},
        (
            r"server (is )?(busy|overloaded)",
            r"maximum pending requests exceeded",
            r"^overloaded\b",
            r"^loading model",
        ),
    ),
    (RateLimited, {None}, (r"rate.?limit", r"too many requests", r"requests? throttl")),
    (InvalidRequest, {None}, (r"does not support", r"is not supported", r"^invalid ")),
    (
        ServerError,
        {None},
        (
            r"internal (server )?error",
            r"error was encountered while running",  # Ollama
            r"runner process (has terminated|no longer running)",  # Ollama
            r"timed out|timeout",
            r"bad gateway|gateway time-?out",
        ),
    ),
)
"""What texts mean, by the statuses (None: inside a 200 stream) that leave room for it."""
_TEXTS = [(cls, statuses, re.compile("|".join(words), re.I)) for cls, statuses, words in _WORDS]
# DashScope's words for tokens per minute, under codes that elsewhere mean money.
_RECOVERS = re.compile(r"(?<!free )allocated quota exceeded|error-code#token-limit", re.I)
_NEVER_FITS = re.compile(r"request too large for|tokens must be reduced", re.I)


def classify(status: int | None, codes: Iterable[str], message: str) -> type[ProviderError]:
    """Give the class for a *status* (None inside a 200 stream), the *codes* that were given, and the *message*."""
    known = [cls for cls in map(_by_code, codes) if cls is not None]
    textual = _by_text(status, message)
    if QuotaExceeded in known or textual is QuotaExceeded:
        return RateLimited if _RECOVERS.search(message) else QuotaExceeded
    for cls in known:
        if cls not in (InvalidRequest, ServerError):
            return cls
    by_status = _by_status(status)
    # A server that names its own failure is not corrected by a guess at its words.
    guessed = textual is not None and known and (issubclass(textual, _TEMPORARY) or textual is InvalidRequest)
    if textual is not None and not guessed and by_status in (None, InvalidRequest, PermissionDenied, ServerError):
        return textual
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
