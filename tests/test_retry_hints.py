"""How long a provider asks to wait, wherever it says so: in headers, in the body, in words, inside a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
import responses
from requests.structures import CaseInsensitiveDict
from responses.registries import OrderedRegistry

from promptstream import Retry, providers
from promptstream.errors import ProviderError, QuotaExceeded, RateLimited
from promptstream.providers.failures import http_error, said_error
from promptstream.providers.retry_hints import retry_in
from promptstream.values.secret import Secret

KEY = Secret("sk-secret-0123456789")
WHOLE = (
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


def http(status: int, body: Any = b"", /, provider: str = "vendor", **headers: str) -> ProviderError:
    """Give the error for a status, a body (bytes, or a value for JSON) and headers."""
    fields = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_error(provider, KEY, status, fields, data)


def said(body: Any) -> ProviderError:
    """Give the error for what is said inside a 200 stream."""
    return said_error("vendor", KEY, body)


def openai(code: str | None, kind: str | None = "invalid_request_error", message: str = "no") -> dict[str, Any]:
    """Write an error as Chat Completions and Responses do."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# How long to wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 1.5s.", 1.5),
        ("Please retry in 48.939935699s.", 48.939935699),
        ("Please try again in 6m0s. Visit", 360.0),
        ("Please try again in 7m12.5s.", 432.5),
        ("Please try again in 1h2m3s.", 3723.0),
        ("Please try again in 200ms.", 0.2),
        ("Please try again in 20 seconds.", 20.0),
        ("Please retry after 6 seconds.", 6.0),
        ("Please retry after 1 second.", 1.0),
        ("Try again in 2 minutes", 120.0),
        ("Please retry after 1 day", 86400.0),
        ("Please try again in 50 milliseconds", 0.05),
        ("Please wait 12 seconds before retrying.", 12.0),
        ("Wait for 2m and ask again", 120.0),
        ("Request was throttled. Expected available in 1 second.", 1.0),
        ("Please wait before trying again. Limit 5 s", None),
        ("Please try again in 0s.", None),
        ("Please try again in 10.", None),
        ("Please try again in 3 steps", None),
        ("Please try again later", None),
        ("a limit of 3 in 60s", None),
        ("Please try again in " + "9" * 400 + "s", None),
        ("", None),
    ],
)
def test_the_wait_is_read_from_words_where_nothing_else_says_it(text, seconds):
    """As a last resort the text of a rate limit says how long."""
    assert http(429, {"error": {"message": text}}).retry_after == pytest.approx(seconds)
    assert said(openai("rate_limit_exceeded", message=text)).retry_after == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"details": [{"retryDelay": "48s"}]}, 48.0),
        ({"details": [{"@type": "x"}, {"retryDelay": "34.4s"}]}, 34.4),
        ({"details": [{"retryDelay": "0s"}]}, None),
        ({"details": [{"retryDelay": "soon"}]}, None),
        ({"details": [{"retryDelay": {"seconds": 3}}]}, None),
        ({"details": {"retryDelay": "48s"}}, None),
        ({"details": ["48s", None]}, None),
        ({"availability": {"retry_after": 3}}, 3.0),
        ({"availability": {"retry_after": "3"}}, 3.0),
        ({"availability": {"retry_after": True}}, None),
        ({"availability": {"retry_after": 10**400}}, None),
        ({"availability": {"retry_after": -1}}, None),
        ({"availability": []}, None),
        ({"metadata": {"retry_after": 2.5}}, 2.5),
        ({"retry_after": 4}, 4.0),
        ({"estimated_time": 20.5}, 20.5),
    ],
)
def test_the_wait_is_read_from_the_body(given, seconds):
    """Google's RetryInfo and OpenRouter's availability say it where no header does."""
    assert retry_in(given, "") == seconds
    assert http(429, {"error": {"message": "slow", **given}}).retry_after == seconds
    assert http(429, {"error": {"message": "Try again in 9s", **given}}).retry_after == (seconds or 9.0)


def test_a_header_goes_before_the_body_unless_it_says_nothing():
    """Zero is no information; the next source is asked."""
    body = {"error": {"message": "Try again in 9s"}}
    assert http(429, body, retry_after="3").retry_after == 3.0
    assert http(429, body, retry_after="0").retry_after == 9.0
    assert http(429, body, retry_after_ms="0", retry_after="0").retry_after == 9.0


def test_a_refusal_that_waiting_cannot_help_asks_for_no_wait():
    """A quota's "try again in" would make a loop wait for nothing."""
    error = http(429, openai("insufficient_quota", message="Try again in 20s."))
    assert (type(error), error.retry_after) == (QuotaExceeded, None)


# Over the wire


def test_an_error_that_is_the_first_event_is_tried_again():
    """Nothing was handed out: overloaded inside a 200 stream is as good as a 529."""
    busy = b'data: {"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"busy"}}}\n\n'
    url = "http://127.0.0.1:9/v1"
    with responses.RequestsMock(registry=OrderedRegistry) as net:
        for body in (busy, WHOLE):
            net.post(f"{url}/chat/completions", body=body, content_type="text/event-stream")
        with providers.get("compatible", base_url=url, model="m", retry=Retry(base=0.001)) as provider:
            assert provider.send("Hello").text == "Hi"


def test_a_wait_said_inside_a_stream_is_obeyed():
    """The hint of an in-band error is the delay of the next attempt."""
    busy = b'data: {"error":{"message":"Try again in 20ms","code":"rate_limit_exceeded"}}\n\n'
    url, waits = "http://127.0.0.1:9/v1", []
    retry = Retry(base=0.001, on_retry=lambda error, delay: waits.append((type(error), delay)))
    with responses.RequestsMock(registry=OrderedRegistry) as net:
        for body in (busy, WHOLE):
            net.post(f"{url}/chat/completions", body=body, content_type="text/event-stream")
        with providers.get("compatible", base_url=url, model="m", retry=retry) as provider:
            assert provider.send("Hello").text == "Hi"
    assert waits == [(RateLimited, 0.02)]
