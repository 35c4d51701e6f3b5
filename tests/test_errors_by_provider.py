"""What each provider refuses, in its own words, as the error that stands for it: by status and inside a 200 stream."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

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
from promptstream.providers.failures import http_error, said_error
from promptstream.values.secret import Secret

KEY = Secret("sk-secret-0123456789")
TEMPORARY = (RateLimited, Overloaded, ServerError)
RECORDED: dict[str, type[ProviderError]] = {
    "anthropic-400-invalid-request-error": ContextTooLong,
    "anthropic-401-authentication-error": Authentication,
    "anthropic-404-not-found-error": NotFound,
    "gemini-400-400": Authentication,
    "gemini-404-404": NotFound,
    "gemini-429-429": RateLimited,
    "gemini-429-retry-info": RateLimited,
    "ollama-openai-400-invalid-request-error": ContextTooLong,
    "ollama-openai-401-api-error": Authentication,
    "openai-chat-400-invalid-image-format": InvalidRequest,
    "openai-chat-400-invalid-image-url": InvalidRequest,
    "openai-chat-400-invalid-request-error": InvalidRequest,
    "openai-chat-400-invalid-value": InvalidRequest,
    "openai-chat-400-max-tokens-unsupported": InvalidRequest,
    "openai-chat-400-unsupported-value": InvalidRequest,
    "openai-chat-401-invalid-api-key": Authentication,
    "openai-chat-404-model-not-found": NotFound,
    "openai-completions-401-invalid-api-key": Authentication,
    "openai-other-400-invalid-image-file": InvalidRequest,
    "openai-other-400-invalid-value": InvalidRequest,
    "openai-other-400-unknown-parameter": InvalidRequest,
    "openai-other-404-model-not-found": NotFound,
    "openai-responses-400-context-length-exceeded": ContextTooLong,
    "openai-responses-400-decimal-below-min-value": InvalidRequest,
    "openai-responses-400-invalid-request-error": InvalidRequest,
    "openai-responses-400-invalid-value": InvalidRequest,
    "openai-responses-400-model-not-found": NotFound,
    "openai-responses-400-temperature-unsupported": InvalidRequest,
    "openai-responses-400-unsupported-file": InvalidRequest,
    "openai-responses-401-invalid-api-key": Authentication,
    "openrouter-400-400": ContextTooLong,
    "openrouter-401-401": Authentication,
    "openrouter-429-429": RateLimited,
    "other-400-invalid-request-error": ContextTooLong,
    "other-400-tool-use-failed": InvalidRequest,
    "other-401-401": Authentication,
    "other-401-invalid-request-error": Authentication,
    "other-404-deploymentnotfound": NotFound,
    "other-404-model-not-found": NotFound,
    "other-429-ratelimitreached": RateLimited,
    "qwen-401-invalid-request-error": Authentication,
    "qwen-native-400-invalidparameter": NotFound,  # "Model not exist."
    "qwen-native-401-invalidapikey": Authentication,
    "qwen-native-auth-error-nosse": Authentication,
    "qwen-native-parameter-error-nosse": InvalidRequest,
    "vertex-400-400": ContextTooLong,
    "vertex-404-404": NotFound,
}
WAITS = {"gemini-429-429": 48.0, "gemini-429-retry-info": 34.4, "other-429-ratelimitreached": 1.0}
"""Seconds, by the recorded errors that say how long to wait."""


def http(status: int, body: Any = b"", /, provider: str = "vendor", **headers: str) -> ProviderError:
    """Give the error for a status, a body (bytes, or a value for JSON) and headers."""
    fields = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_error(provider, KEY, status, fields, data)


def said(body: Any) -> ProviderError:
    """Give the error for what is said inside a 200 stream."""
    return said_error("vendor", KEY, body)


def recorded(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the name and content of each recorded HTTP error."""
    for path in sorted((data / "recordings" / "errors").glob("*.json")):
        yield path.stem, json.loads(path.read_text())


def replayed(about: dict[str, Any]) -> ProviderError:
    """Give the error for a recorded answer."""
    headers = CaseInsensitiveDict(about.get("headers") or {})
    return http_error("vendor", KEY, about["status"], headers, about["body"].encode())


def without_mark(text: str) -> str:
    """Give a body's text without the byte order mark that one recording begins with."""
    return text.removeprefix("\ufeff")


# Recorded bodies


def test_every_recorded_error_has_the_class_that_says_what_to_do(conformance_data):
    """47 refusals as providers worded them, each with its class, its status, the wait, and whether to try again."""
    found, again, waits = {}, set(), {}
    for name, about in recorded(conformance_data):
        error = replayed(about)
        found[name] = type(error)
        assert (error.status, error.phase, error.provider) == (about["status"], "headers", "vendor"), name
        if error.retryable:
            again.add(name)
        if error.retry_after is not None:
            waits[name] = error.retry_after
    assert found == RECORDED
    assert again == {"gemini-429-429", "gemini-429-retry-info", "openrouter-429-429", "other-429-ratelimitreached"}
    assert waits == WAITS


def test_every_recorded_error_says_what_the_server_said(conformance_data):
    """The server's own words, its code and its request id are in the error, bounded."""
    for name, about in recorded(conformance_data):
        error = replayed(about)
        body = json.loads(without_mark(about["body"]))
        inner = body.get("error", body)
        assert " ".join(inner["message"].split())[:60].rstrip(".") in " ".join(str(error).split()), name
        assert str(error).startswith("vendor says: "), name
        assert f"status {about['status']}" in str(error), name
        words = [inner.get("code"), inner.get("type"), inner.get("status")]
        assert error.code == next((word for word in words if word and not str(word).isdigit()), None), name
        headers = CaseInsensitiveDict(about.get("headers") or {})
        names = ("x-request-id", "request-id", "cf-ray")
        of_headers = next((headers[each] for each in names if each in headers), None)
        assert error.request_id == (body.get("request_id") or of_headers), name
        assert len(str(error)) < 700, name


def test_a_recorded_error_inside_a_stream_has_the_same_class(conformance_data):
    """Where the body says enough by itself, the class and whether to try again do not hang on the status."""
    for name, about in recorded(conformance_data):
        outer, inner = replayed(about), said(json.loads(without_mark(about["body"])))
        if name == "qwen-401-invalid-request-error":  # a code for anything at all
            continue
        if type(inner) in (ProviderError, InvalidRequest):
            # A code that nobody knows, alone, says only that it failed.
            assert isinstance(outer, InvalidRequest), name
        else:
            assert (type(inner), inner.retryable) == (type(outer), outer.retryable), name


def test_a_recorded_upstream_error_is_told_in_the_upstreams_words(conformance_data):
    """OpenRouter's own text says nothing; who failed and how is in metadata."""
    error = replayed(dict(recorded(conformance_data))["openrouter-429-429"])
    assert "Provider returned error (Google): google/gemini-2.0-flash-exp:free is temporarily rate-limited" in str(
        error
    )


# Codes


def openai(code: str | None, kind: str | None = "invalid_request_error", message: str = "no") -> dict[str, Any]:
    """Write an error as Chat Completions and Responses do."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str = "no") -> dict[str, Any]:
    """Write an error as Messages does."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(status: int, name: str, message: str = "no", *details: Any) -> dict[str, Any]:
    """Write an error as generateContent does."""
    return {"error": {"code": status, "message": message, "status": name, "details": list(details)}}


def native(code: str, message: str = "no") -> dict[str, Any]:
    """Write an error as DashScope's own protocol does."""
    return {"code": code, "message": message, "request_id": "r-1"}


def router(status: int, message: str = "no", **metadata: Any) -> dict[str, Any]:
    """Write an error as OpenRouter does."""
    return {"error": {"code": status, "message": message, "metadata": metadata}, "user_id": "user_1"}


BY_PROVIDER: list[tuple[int, dict[str, Any], type[ProviderError]]] = [
    # OpenAI, and those who speak like it
    (429, openai("insufficient_quota", "insufficient_quota"), QuotaExceeded),
    (429, openai(None, "insufficient_quota"), QuotaExceeded),
    (429, openai("rate_limit_exceeded", "insufficient_quota"), QuotaExceeded),
    (429, openai("credit_balance_exhausted", "insufficient_quota"), QuotaExceeded),
    (429, openai("billing_not_active"), QuotaExceeded),
    (429, openai("rate_limit_exceeded", "tokens"), RateLimited),
    (429, openai("rate_limit_exceeded", "requests"), RateLimited),
    (400, openai("model_not_found"), NotFound),
    (400, openai("context_length_exceeded"), ContextTooLong),
    (
        400,
        openai("invalid_prompt", message="Your prompt was flagged as potentially violating our policy."),
        ContentFiltered,
    ),
    (400, openai("content_policy_violation"), ContentFiltered),
    (400, openai("bio_policy"), ContentFiltered),
    (
        400,
        openai("content_filter", message="The response was filtered by the content management policy."),
        ContentFiltered,
    ),
    (503, openai("server_is_overloaded", "server_error"), Overloaded),
    (503, openai("slow_down", "server_error"), Overloaded),
    (500, openai(None, "server_error"), ServerError),
    (429, openai(None, "engine_overloaded_error"), Overloaded),
    (429, openai(None, "exceeded_current_quota_error"), QuotaExceeded),
    (401, openai("invalid_request_error", "authentication_error"), Authentication),
    (402, openai("invalid_request_error", "unknown_error", "Insufficient Balance"), QuotaExceeded),
    (
        400,
        {"error": {"code": 400, "type": "exceed_context_size_error", "message": "too large", "n_ctx": 9}},
        ContextTooLong,
    ),
    (503, {"error": {"code": 503, "type": "unavailable_error", "message": "Loading model"}}, Overloaded),
    (400, {"object": "error", "type": "BadRequestError", "code": 400, "message": "no", "param": None}, InvalidRequest),
    (
        404,
        {"object": "error", "type": "NotFoundError", "code": 404, "message": "The model `m` does not exist."},
        NotFound,
    ),
    (400, {"error": {"message": "no", "type": "x", "code": "tool_use_failed", "status_code": 400}}, InvalidRequest),
    # Anthropic
    (400, anthropic("invalid_request_error"), InvalidRequest),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API."), QuotaExceeded),
    (400, anthropic("invalid_request_error", "You have reached your specified API usage limits."), QuotaExceeded),
    (400, anthropic("invalid_request_error", "prompt is too long: 9 tokens > 5 maximum"), ContextTooLong),
    (
        400,
        anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 9 + 1 > 5"),
        ContextTooLong,
    ),
    (401, anthropic("authentication_error"), Authentication),
    (402, anthropic("billing_error"), QuotaExceeded),
    (403, anthropic("permission_error"), PermissionDenied),
    (404, anthropic("not_found_error"), NotFound),
    (409, anthropic("conflict_error"), ServerError),
    (413, anthropic("request_too_large"), InvalidRequest),
    (429, anthropic("rate_limit_error"), RateLimited),
    (500, anthropic("api_error"), ServerError),
    (504, anthropic("timeout_error"), ServerError),
    (529, anthropic("overloaded_error"), Overloaded),
    # Gemini
    (400, google(400, "INVALID_ARGUMENT"), InvalidRequest),
    (400, google(400, "INVALID_ARGUMENT", "no", {"reason": "API_KEY_INVALID"}), Authentication),
    (400, google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), Authentication),
    (
        400,
        google(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens"),
        ContextTooLong,
    ),
    (400, google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), InvalidRequest),
    (401, google(401, "UNAUTHENTICATED"), Authentication),
    (403, google(403, "PERMISSION_DENIED"), PermissionDenied),
    (404, google(404, "NOT_FOUND"), NotFound),
    (429, google(429, "RESOURCE_EXHAUSTED"), RateLimited),
    (499, google(499, "CANCELLED"), ServerError),
    (500, google(500, "INTERNAL"), ServerError),
    (503, google(503, "UNAVAILABLE"), Overloaded),
    (504, google(504, "DEADLINE_EXCEEDED"), ServerError),
    # OpenRouter
    (400, router(400, error_type="context_length_exceeded"), ContextTooLong),
    (400, router(400, error_type="invalid_request"), InvalidRequest),
    (400, router(400, "openai/gpt-0 is not a valid model ID"), NotFound),
    (401, router(401, error_type="authentication"), Authentication),
    (402, router(402, "This request requires more credits, or fewer max_tokens."), QuotaExceeded),
    (403, router(403, error_type="permission_denied"), PermissionDenied),
    (403, router(403, "openai/x requires moderation", reasons=["violence"], flagged_input="…"), ContentFiltered),
    (403, router(403, "Request blocked", patterns=["injection"]), ContentFiltered),
    (403, router(403, error_type="content_policy_violation"), ContentFiltered),
    (404, router(404, "No endpoints found for x/y.", error_type="no_endpoints"), NotFound),
    (408, router(408, error_type="timeout"), ServerError),
    (413, router(413, error_type="payload_too_large"), InvalidRequest),
    (429, router(429, error_type="rate_limit_exceeded"), RateLimited),
    (429, router(429, "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock more"), QuotaExceeded),
    (429, router(429, "Rate limit exceeded: free-models-per-min."), RateLimited),
    (502, router(502, error_type="provider_unavailable"), ServerError),
    (503, router(503, error_type="provider_overloaded"), Overloaded),
    (524, router(524), ServerError),
    (529, router(529, error_type="overloaded"), Overloaded),
    # Qwen, compatible mode and native
    (400, openai("data_inspection_failed", "data_inspection_failed"), ContentFiltered),
    (400, native("DataInspectionFailed", "Input data may contain inappropriate content."), ContentFiltered),
    (
        400,
        openai("invalid_parameter_error", message="<400> InternalError.Algo.DataInspectionFailed: no"),
        ContentFiltered,
    ),
    (400, native("InvalidParameter", "Range of input length should be [1, 30720]"), ContextTooLong),
    (400, native("InvalidParameter", "Model not exist."), NotFound),
    (400, native("InvalidParameter"), InvalidRequest),
    (400, native("Arrearage", "Access denied, please make sure your account is in good standing."), QuotaExceeded),
    (401, native("InvalidApiKey"), Authentication),
    (403, native("AccessDenied.Unpurchased"), PermissionDenied),
    (403, native("Model.AccessDenied"), PermissionDenied),
    (403, openai("access_denied"), PermissionDenied),
    (403, native("AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."), QuotaExceeded),
    (404, native("ModelNotFound"), NotFound),
    (429, native("Throttling"), RateLimited),
    (429, native("Throttling.RateQuota", "Requests rate limit exceeded"), RateLimited),
    (429, native("Throttling.BurstRate", "Request rate increased too quickly"), RateLimited),
    (
        429,
        native("Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit."),
        RateLimited,
    ),
    (429, native("Throttling.AllocationQuota", "Free allocated quota exceeded."), QuotaExceeded),
    (429, openai("insufficient_quota", "insufficient_quota", "Allocated quota exceeded, please wait"), RateLimited),
    (429, openai("insufficient_quota", "insufficient_quota", "Free allocated quota exceeded."), QuotaExceeded),
    (429, openai("limit_requests", "limit_requests"), RateLimited),
    (500, native("InternalError"), ServerError),
    (500, native("InternalError.Timeout"), ServerError),
    (503, native("ModelServingError"), Overloaded),
    # Ollama
    (400, {"error": "prompt too long; exceeded max context length by 3 tokens"}, ContextTooLong),
    (400, {"error": "registry.ollama.ai/library/m does not support tools"}, InvalidRequest),
    (401, {"error": "unauthorized", "signin_url": "https://example.invalid"}, Authentication),
    (404, {"error": "model 'm:1b' not found"}, NotFound),
    (404, {"error": 'model "m" not found, try pulling it first'}, NotFound),
    (429, {"error": "too many requests"}, RateLimited),
    (500, {"error": "an error was encountered while running the model: CUDA error"}, ServerError),
    (500, {"error": "llama runner process has terminated: exit status 2"}, ServerError),
    (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, Overloaded),
]


@pytest.mark.parametrize(("status", "body", "kind"), BY_PROVIDER)
def test_a_refusal_has_the_same_class_by_status_and_inside_a_stream(status, body, kind):
    """A loop catches one class, and knows whether to try again, however the provider said it."""
    for error in (http(status, body), said(body), http(status, [body]), said([body])):
        assert type(error) is kind
        assert error.retryable is issubclass(kind, TEMPORARY)
    assert http(status, body).status == status


@pytest.mark.parametrize(
    ("event", "kind", "code"),
    [
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None, "sequence_number": 2},
            RateLimited,
            "rate_limit_exceeded",
        ),
        (
            {
                "type": "error",
                "sequence_number": 2,
                "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "slow"},
            },
            RateLimited,
            "rate_limit_exceeded",
        ),
        ({"type": "error", "code": None, "message": "slow", "param": None}, ProviderError, None),
        ({"code": "server_error", "message": "slow"}, ServerError, "server_error"),
        (
            {
                "type": "response.failed",
                "response": {"id": "resp_1", "error": {"code": "insufficient_quota", "message": "slow"}},
            },
            QuotaExceeded,
            "insufficient_quota",
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "vector_store_timeout", "message": "slow"}}},
            ServerError,
            "vector_store_timeout",
        ),
    ],
)
def test_an_error_event_of_responses_is_read_flat_nested_or_inside_the_response(event, kind, code):
    """Documented flat, recorded nested, and once more in ``response.failed``."""
    error = said(event)
    assert (type(error), error.code) == (kind, code)
    assert str(error).startswith("vendor says: slow")


def test_a_request_larger_than_the_whole_limit_is_not_tried_again():
    """It is a rate limit by its code, but waiting makes no request smaller."""
    text = "Request too large for m on tokens per min (TPM): Limit 1, Requested 30. The tokens must be reduced."
    for error in (
        http(429, openai("rate_limit_exceeded", "tokens", text)),
        said(openai("rate_limit_exceeded", "tokens", text)),
    ):
        assert (type(error), error.retryable) == (RateLimited, False)


@pytest.mark.parametrize(
    "quotas",
    [
        ["GenerateRequestsPerDayPerProjectPerModel-FreeTier"],
        ["GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"],
    ],
)
def test_a_quota_per_day_is_exhausted_whatever_wait_is_given_beside_it(quotas):
    """Google gives seconds beside a quota that comes back tomorrow; per minute it is a rate limit."""
    failure = {"violations": [{"quotaId": quota} for quota in quotas]}
    error = http(429, google(429, "RESOURCE_EXHAUSTED", "quota", failure, {"retryDelay": "12s"}))
    assert (type(error), error.retryable, error.retry_after) == (QuotaExceeded, False, None)


def test_a_model_that_is_not_there_is_told_from_other_things_that_are_not():
    """Only a model's name not found is NotFound where the status says 400."""
    for text in (
        "Model not exist.",
        "The model `m-1:free` does not exist",
        "models/m-1.5 is not found for this version",
    ):
        assert type(http(400, {"error": {"message": text}})) is NotFound
    for text in ("The model called a tool that was not found", "File not found", "the model's file does not exist"):
        assert type(http(400, {"error": {"message": text}})) is InvalidRequest


# What OpenRouter puts into metadata


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        (
            {"raw": "upstream is down", "provider_name": "P"},
            "Provider returned error (P): upstream is down (status 502)",
        ),
        (
            {"raw": '{"error": {"message": "bad thing"}}', "provider_name": "P"},
            "Provider returned error (P): bad thing (status 502)",
        ),
        ({"raw": '{"error": "bad thing"}'}, "Provider returned error: bad thing (status 502)"),
        ({"raw": {"error": {"message": "bad thing"}}}, "Provider returned error: bad thing (status 502)"),
        ({"raw": '[{"error": {"message": "bad thing"}}]'}, "Provider returned error: bad thing (status 502)"),
        ({"raw": '{"odd": 1}'}, "Provider returned error: {'odd': 1} (status 502)"),
        ({"raw": '{"cut": '}, 'Provider returned error: {"cut": (status 502)'),
        ({"raw": ""}, "Provider returned error (status 502)"),
        ({"raw": 7}, "Provider returned error (status 502)"),
        (
            {"previous_errors": [{"code": 500, "message": "first"}, {"code": 502, "message": "last"}]},
            "Provider returned error: last (status 502)",
        ),
        ({"previous_errors": "odd"}, "Provider returned error (status 502)"),
        ({}, "Provider returned error (status 502)"),
    ],
)
def test_the_upstreams_own_words_replace_a_text_that_says_nothing(metadata, text):
    """What the provider behind the router said is told, whatever form it has."""
    assert str(http(502, router(502, "Provider returned error", **metadata))).startswith(f"vendor says: {text}")


def test_the_upstreams_words_are_bounded_and_say_what_class_it_is():
    """The upstream's text counts as the text: bounded, scrubbed, and read for its meaning."""
    raw = f"This model's maximum context length is 10 tokens. {KEY[:]} " + "x" * 2000
    error = http(400, router(400, "Provider returned error", raw=raw))
    assert type(error) is ContextTooLong
    assert KEY[:] not in str(error)
    assert len(str(error)) < 700


def test_a_text_that_says_something_is_not_replaced():
    """The router's own words go before the upstream's."""
    error = http(400, router(400, "Input is invalid", raw="inner"))
    assert "inner" not in str(error)


def test_the_router_may_say_whether_and_when_to_try_again():
    """``availability`` goes before the table of statuses."""
    body = {
        "error": {
            "message": "none",
            "error_type": "no_endpoints",
            "http_status": 404,
            "availability": {"code": "x", "retryable": True, "retry_after": 7},
        }
    }
    error = http(404, body)
    assert (type(error), error.retryable, error.retry_after) == (NotFound, True, 7.0)
    body = {
        "error": {
            "message": "busy",
            "error_type": "provider_overloaded",
            "http_status": 503,
            "availability": {"retryable": False, "retry_after": 7},
        }
    }
    for error in (http(503, body), said(body)):
        assert (type(error), error.retryable, error.retry_after, error.status) == (Overloaded, False, 7.0, 503)
    assert http(503, body, x_should_retry="true").retryable


# Bodies in other wrappings


def test_a_code_beside_a_text_is_read():
    """text-generation-inference writes the error as a text, its kind beside it."""
    error = said({"error": "Model is overloaded", "error_type": "overloaded"})
    assert (type(error), error.code) == (Overloaded, "overloaded")


def test_an_error_body_may_be_an_event_or_begin_with_a_mark():
    """A server that was asked for events may refuse with one; another writes a byte order mark first."""
    event = b'id:1\nevent:error\n:HTTP_STATUS/401\ndata:{"code":"InvalidApiKey","message":"No.","request_id":"r1"}\n\n'
    for body in (event, b'\xef\xbb\xbf{"code":"InvalidApiKey","message":"No.","request_id":"r1"}'):
        error = http(401, body, content_type="text/event-stream")
        assert (type(error), error.code, error.request_id) == (Authentication, "InvalidApiKey", "r1")
        assert str(error) == "vendor says: No (status 401, InvalidApiKey). Check the key."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"errors": [{"message": "first"}, {"message": "second"}]}, "first"),
        ({"error": "Not Found", "message": "no such path"}, "Not Found: no such path"),
        ({"error": True, "message": "bare"}, "bare"),
        ({"success": False, "errors": [{"code": 7003, "message": "no route"}]}, "no route"),
    ],
)
def test_a_gateways_body_is_told_too(body, text):
    """Proxies and gateways word it in shapes of their own."""
    assert str(http(400, body)).startswith(f"vendor says: {text} (status 400")


SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["401", "Throttling", "1s", "x.y."]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "errors",
                    "message",
                    "code",
                    "type",
                    "status",
                    "status_code",
                    "http_status",
                    "request_id",
                    "detail",
                    "details",
                    "metadata",
                    "availability",
                    "retryable",
                    "retry_after",
                    "retryDelay",
                    "violations",
                    "quotaId",
                    "reason",
                    "raw",
                    "previous_errors",
                    "provider_name",
                    "error_type",
                    "response",
                    "flagged_input",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=500, deadline=None)
@given(
    SHAPES,
    st.sampled_from([400, 401, 403, 404, 413, 429, 499, 500, 503, 599]),
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "content-type"]),
        st.text(max_size=12),
    ),
)
def test_any_value_at_all_gives_an_error_with_sane_fields(body, status, headers):
    """Whatever JSON a provider says, with whatever headers, a ProviderError comes of it that prints and compares."""
    for error in (
        http_error("vendor", KEY, status, CaseInsensitiveDict(headers), json.dumps(body).encode()),
        said(body),
    ):
        assert isinstance(error, ProviderError)
        assert error.status is None or 400 <= error.status < 600
        assert error.code is None or (isinstance(error.code, str) and error.code.isprintable())
        assert error.request_id is None or isinstance(error.request_id, str)
        assert error.retry_after is None or 0 < error.retry_after < math.inf
        assert isinstance(error.retryable, bool)
        assert str(error).isprintable()
        str(error).encode()
