"""What servers, gateways and proxies refuse, in shapes and words of their own, as the error that stands for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from promptstream import errors
from promptstream.errors import (
    Authentication,
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
TABLE = Path(__file__).with_name("refusals.ndjson")
"""Who says it, the status, the body, the class it stands for, the seconds to wait, whether it says so in a stream."""
PAGE = b"<html><head><title>no</title></head></html>"


def http(status: int, body: Any = b"", /, **headers: str) -> ProviderError:
    """Give the error for a status, a body (bytes, or a value for JSON) and headers."""
    fields = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_error("vendor", KEY, status, fields, data)


def said(body: Any) -> ProviderError:
    """Give the error for what is said inside a 200 stream."""
    return said_error("vendor", KEY, body)


def refusals(*, stream: bool) -> list[Any]:
    """Give those of the table that say enough for a *stream*, or those that need their status."""
    rows = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    return [
        pytest.param(row["status"], row["body"], getattr(errors, row["class"]), row["wait"], id=f"{at}-{row['who']}")
        for at, row in enumerate(rows, 1)
        if row["stream"] is stream
    ]


@pytest.mark.parametrize(("status", "body", "kind", "wait"), refusals(stream=True))
def test_a_body_has_one_class_by_status_and_inside_a_stream(status, body, kind, wait):
    """What a server words in its own way means what the others mean, whichever way it comes."""
    for error in (http(status, body), said(body)):
        assert type(error) is kind
        assert (error.retryable, error.retry_after) == (issubclass(kind, TEMPORARY), wait)


@pytest.mark.parametrize(("status", "body", "kind", "wait"), refusals(stream=False))
def test_a_status_says_what_a_body_leaves_open(status, body, kind, wait):
    """Words that nobody knows change nothing."""
    error = http(status, body)
    assert (type(error), error.retryable, error.retry_after) == (kind, issubclass(kind, TEMPORARY), wait)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, PAGE, Authentication),
        (403, PAGE, PermissionDenied),
        (404, b"404 page not found", NotFound),
        (413, PAGE, InvalidRequest),
        (422, b"Failed to deserialize the JSON body into the target type", InvalidRequest),
        (429, b"error code: 1015", RateLimited),
        (502, PAGE, ServerError),
        (503, b"no healthy upstream", Overloaded),
        (504, b"upstream request timeout", ServerError),
        (521, PAGE, ServerError),
    ],
)
def test_what_stands_before_a_server_answers_in_pages_and_lines(status, body, kind):
    """A proxy's page, a balancer's line of text: the status counts."""
    error = http(status, body, content_type="text/html" if body is PAGE else "text/plain", cf_ray="ray-1")
    assert (type(error), error.retryable, error.code) == (kind, issubclass(kind, TEMPORARY), None)
    assert error.request_id == "ray-1"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            QuotaExceeded,
            "1008",
        ),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit, please retry later"}}, RateLimited, "1002"),
        ({"base_resp": {"status_code": 2049, "status_msg": "invalid api key"}}, Authentication, "2049"),
        ({"code": 20012, "message": "Model does not exist.", "data": None}, NotFound, "20012"),
        ({"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "no"}, QuotaExceeded, "NOT_ENOUGH_BALANCE"),
        ({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "rate limit"}, RateLimited, "REQUEST_LIMIT_EXCEEDED"),
        ({"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]}, Authentication, "10000"),
        ({"object": "error", "message": "no", "type": "invalid_model", "code": "1500"}, NotFound, "1500"),
        ({"error": {"message": "no", "type": "None", "param": "None", "code": "400"}}, InvalidRequest, None),
        ({"type": "about:blank", "title": "Too many requests", "status": 429}, RateLimited, None),
        ({"type": "https://example.invalid/why", "title": "no", "status": 503}, Overloaded, None),
    ],
)
def test_a_code_is_a_word_or_a_number_of_the_servers_own(body, kind, code):
    """A status, a written None and the address of an explanation are no codes."""
    error = said(body)
    assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"detail": [{"loc": ["body", "messages"], "msg": "field required", "input": "mine"}]},
            "body.messages: field required",
        ),
        ({"detail": [{"loc": ["body", 0], "msg": "a"}, {"msg": "b"}]}, "body.0: a; b"),
        ({"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}}, "body.n: bad"),
        ({"detail": {"error": "Model is not available"}}, "Model is not available"),
        ({"error": ["bad parameter"]}, "bad parameter"),
        ({"error": "invalid_client", "error_description": "No such client."}, "invalid_client: No such client"),
        ({"errors": [{"description": "bad thing", "key": "x"}]}, "bad thing"),
        ({"title": "Too Many Requests", "status": 429}, "Too Many Requests"),
        ({"novelty": {"odd": 1}}, "{'novelty': {'odd': 1}}"),
        ({"novelty": None}, "no explanation"),
        ({"error": {"message": 7}}, "7"),
        ({"error": {"message": False}}, "{'error': {'message': False}}"),
    ],
)
def test_words_are_found_under_every_name(body, text):
    """Objects within objects, lists of them, and at worst the whole of it, but never what the user wrote."""
    assert str(http(400, body)) == f"vendor says: {text} (status 400)."


def test_a_body_may_say_whether_and_when_to_try_again():
    """A gateway's ``retryable`` goes before the table, as OpenRouter's does; Hugging Face says how long it loads."""
    body = {"title": "Error 524", "status": 524, "retryable": False, "retry_after": 120}
    assert (http(524, body).retryable, http(524, body).retry_after) == (False, 120.0)
    assert http(400, {"message": "later", "retryable": True}).retryable
    assert http(503, {"error": "Model m is currently loading", "estimated_time": 20.5}).retry_after == 20.5


def test_a_request_that_never_fits_is_not_tried_again_whatever_its_status():
    """Groq says 413 and a rate limit: waiting makes no request smaller."""
    body = {
        "error": {"message": "Request too large for model `m`: Limit 1, Requested 2", "code": "rate_limit_exceeded"}
    }
    for error in (http(413, body), said(body)):
        assert (type(error), error.retryable) == (RateLimited, False)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (429, "You exceeded your current quota per minute."),
        (429, "Rate limit exceeded: free-models-per-min."),
        (429, "Too many tokens, please wait before trying again."),
        (429, "Rate limited. Add credits to raise the limit."),
        (500, "The model was not found in the cache."),
        (500, "insufficient balance between shards"),
        (502, "Unauthorized by the upstream"),
        (503, "Invalid API key store, restarting"),
        (503, "context deadline exceeded"),
    ],
)
def test_a_guess_at_words_never_makes_what_passes_final(status, text):
    """Where the status says that it may pass, words that only look like a reason change nothing."""
    assert http(status, {"error": {"message": text}}).retryable


@pytest.mark.parametrize(
    "text",
    [
        "The request violates org policy constraints/x",
        "messages: the context of the tool is invalid",
        "Invalid model output format",
        "Unknown parameter: 'credits'",
        "tools.0.name: unauthorized characters",
        "temperature: must not exceed the limit",
    ],
)
def test_a_bad_request_that_speaks_of_other_things_is_a_bad_request(text):
    """Words are read for what they say of this request, not for a word in them."""
    assert type(http(400, {"error": {"message": text}})) is InvalidRequest
