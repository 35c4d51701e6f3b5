"""What a server that speaks Chat Completions refuses, as the error that stands for it."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
import responses
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from responses.registries import OrderedRegistry

from promptstream import Retry, providers
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
    StreamError,
    Truncated,
)
from promptstream.providers.failures import MAX_TEXT, http_error, said_error
from promptstream.values.secret import Secret

KEY = "sk-secret-0123456789"
SERVER = "http://127.0.0.1:9/v1"
URL = f"{SERVER}/chat/completions"
DELTA = {"id": "c1", "model": "m-1", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
STOP = {"id": "c1", "model": "m-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def error_of(status: int, body: Any = b"", /, **headers: str) -> ProviderError:
    """Give the error for a status, a body (bytes, or a value for JSON) and headers."""
    fields = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    fields.setdefault("Content-Type", "application/json")
    return http_error(
        "openai", Secret(KEY), status, fields, body if isinstance(body, bytes) else json.dumps(body).encode()
    )


def sse(*events: Any) -> bytes:
    """Write bodies as server-sent events, the sentinel after them."""
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """Answer in place of the network, in the order of what is added."""
    with responses.RequestsMock(registry=OrderedRegistry) as mock:
        yield mock


@pytest.fixture
def provider() -> Iterator[Any]:
    """Give a provider that tries three times, without long waits."""
    retry = Retry(attempts=3, base=0.001)
    with providers.get("compatible", base_url=SERVER, api_key=KEY, model="m-1", retry=retry) as made:
        yield made


# Status, code and text


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, InvalidRequest, False),
        (401, Authentication, False),
        (402, QuotaExceeded, False),
        (403, PermissionDenied, False),
        (404, NotFound, False),
        (405, InvalidRequest, False),
        (408, ServerError, True),
        (409, ServerError, True),
        (413, InvalidRequest, False),
        (418, InvalidRequest, False),
        (422, InvalidRequest, False),
        (429, RateLimited, True),
        (500, ServerError, True),
        (501, ServerError, False),
        (502, ServerError, True),
        (503, Overloaded, True),
        (504, ServerError, True),
        (520, ServerError, True),
        (524, ServerError, True),
        (529, Overloaded, True),
    ],
)
def test_a_status_has_its_class_and_says_whether_to_try_again(status, kind, retryable):
    """Without any explanation the status alone decides."""
    for body in (b"", b"oops", {"error": {"message": "no"}}, {"message": "no"}, {"error": "no"}):
        error = error_of(status, body)
        assert (type(error), error.retryable, error.status) == (kind, retryable, status)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "insufficient_quota", QuotaExceeded),
        (429, "billing_hard_limit_reached", QuotaExceeded),
        (429, "rate_limit_exceeded", RateLimited),
        (400, "context_length_exceeded", ContextTooLong),
        (400, "model_not_found", NotFound),
        (400, "content_policy_violation", ContentFiltered),
        (400, "content_filter", ContentFiltered),
        (400, "data_inspection_failed", ContentFiltered),
        (503, "server_is_overloaded", Overloaded),
        (401, "invalid_request_error", Authentication),
        (422, "invalid_request_error", InvalidRequest),
        (403, "unheard_of", PermissionDenied),
    ],
)
def test_a_code_says_more_than_its_status(status, code, kind):
    """Quota is not rate, a long prompt is not any bad request; codes nobody knows change nothing."""
    error = error_of(status, {"error": {"message": "no", "code": code, "type": "x"}})
    assert type(error) is kind
    assert error.code == code
    assert error.retryable is issubclass(kind, (RateLimited, Overloaded, ServerError))


def test_a_quota_told_by_type_alone_is_a_quota():
    """``type: insufficient_quota`` without a code is not to be tried again."""
    error = error_of(
        429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}}
    )
    assert type(error) is QuotaExceeded
    assert not error.retryable


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens.",
        "This endpoint's maximum context length is 200000 tokens. However, you requested about 2500021 tokens",
        "Your input exceeds the context window of this model.",
        "prompt too long; exceeded max context length by 3 tokens",
        "the request exceeds the available context size, try increasing it",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Context length exceeded",
    ],
)
def test_a_prompt_too_long_is_told_by_its_text_where_no_code_says_it(text):
    """Servers word it differently and mean the same."""
    for status in (400, 413):
        assert type(error_of(status, {"error": {"message": text}})) is ContextTooLong
    assert type(said_error("openai", Secret(KEY), {"error": {"message": text}})) is ContextTooLong


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "Your credit balance is too low"),
        (402, "Insufficient Balance"),
        (403, "Insufficient funds on the account"),
    ],
)
def test_an_account_without_credit_is_a_quota(status, text):
    """However it is worded, waiting does not help."""
    assert type(error_of(status, {"error": {"message": text}})) is QuotaExceeded


def test_the_server_may_say_whether_to_try_again():
    """``x-should-retry`` goes before the table."""
    assert error_of(400, x_should_retry="true").retryable
    assert not error_of(503, x_should_retry="false").retryable
    assert error_of(503, x_should_retry="maybe").retryable


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "no explanation (application/json, 0 bytes)"),
        (b"   ", "no explanation"),
        (b"upstream connect error", "upstream connect error"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
        (b"<html><body>502</body></html>", "no explanation"),
        (b'"just a string"', "just a string"),
        (b'["first", "second"]', "first"),
        (b'[{"error": {"message": "in a list"}}]', "in a list"),
        (b'{"error": "plain"}', "plain"),
        (b'{"message": "bare"}', "bare"),
        (b'{"detail": "fastapi"}', "fastapi"),
        (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        (b'{"error": {"message": {"deep": "object"}}}', "object"),
        (b'{"error": {}}', "no explanation"),
        (b"null", "null"),
        (b"123", "123"),
        (b"[" * 1000, "[[["),
        (b'{"error": {"message": "cut', "cut"),
    ],
)
def test_a_body_of_any_shape_is_told_as_well_as_can_be(body, text):
    """JSON of several shapes, text, pages, junk and nothing: the status counts, the rest is told."""
    error = error_of(500, body)
    assert type(error) is ServerError
    assert text in str(error)


def test_a_page_is_not_quoted():
    """An HTML page of a proxy is told by its kind and size."""
    error = error_of(502, b"  <!DOCTYPE html>" + b"x" * 1000, content_type="text/html; charset=utf-8")
    assert str(error).startswith("openai says: no explanation (text/html, 1017 bytes)")
    assert "DOCTYPE" not in str(error)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "type", "status_code", "request_id", "detail"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from([400, 401, 429, 500]),
)
def test_any_body_at_all_gives_a_provider_error(body, status):
    """Whatever a server answers beside its status, nothing but a ProviderError is made of it."""
    error = error_of(status, body)
    assert error.status == status
    str(error).encode()


# What must not be told, and how much is


def test_a_key_that_the_server_echoes_is_not_told():
    """The key is no part of the error: not of its text, arguments, code, repr or pickle."""
    error = error_of(401, {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": KEY, "type": KEY}})
    for text in (str(error), repr(error), repr(error.args), repr(vars(error)), repr(error.to_event())):
        assert KEY not in text
    assert KEY.encode() not in pickle.dumps(error)
    assert "[key]" in str(error)


def test_a_key_across_the_bound_is_not_told_in_part():
    """The key is taken out before the text is cut."""
    error = error_of(401, {"error": {"message": "x" * (MAX_TEXT - 8) + KEY}})
    assert KEY[:6] not in str(error)


def test_a_key_of_a_few_letters_does_not_garble_the_text():
    """A toy key that is a word of its own is left alone."""
    error = http_error(
        "openai", Secret("no"), 400, CaseInsensitiveDict(), b'{"message": "no such model, nobody knows it"}'
    )
    assert "no such model, nobody knows it" in str(error)


def test_a_long_text_is_cut_at_500_characters():
    """However much a server says, the message stays readable."""
    error = error_of(400, {"error": {"message": "a" * 10_000, "code": "b" * 10_000}})
    assert "a" * MAX_TEXT + "…" in str(error)
    assert "a" * (MAX_TEXT + 1) not in str(error)
    assert len(str(error)) < MAX_TEXT + 200


def test_a_code_and_an_id_are_bounded_and_printable():
    """What a program compares or logs is short, too, and drives no terminal."""
    error = error_of(
        400, {"error": {"message": "no", "code": "\x1b[31m" + "b" * 10_000}, "request_id": "\x07" + "c" * 999}
    )
    assert error.code == "\\x1b[31m" + "b" * 52 + "…"
    assert error.request_id == "\\x07" + "c" * 196 + "…"


def test_control_characters_are_escaped():
    """Nothing in a message drives a terminal or hides text, and everything can be encoded."""
    error = error_of(
        400, {"error": {"message": "\x1b[31mred\x07\x00 \u202eback \x9b1m a\nb\tc \ud800 é👋", "code": "c\x1b]0;x"}}
    )
    text = str(error)
    assert text.isprintable()
    assert "\\x1b[31mred" in text
    assert "a b c" in text
    assert "é👋" in text
    text.encode()


# Hints and ids


def in_seconds(seconds: float) -> str:
    """Give the HTTP date *seconds* from now."""
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": " 7 "}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "250", "retry_after": "7"}, 0.25),
        ({"retry_after_ms": "0", "retry_after": "7"}, 7.0),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7.0),
        ({"retry_after": "3600"}, 3600.0),
        ({"retry_after": "7, 7"}, 7.0),
        ({"retry_after": "1m30s"}, 90.0),
        ({"retry_after": "0s"}, None),
        ({"retry_after": "1e99"}, 1e99),
        ({"retry_after": "99999999999999999999"}, 1e20),
        ({"retry_after_ms": "0", "retry_after": "0"}, None),
        ({"retry_after_ms": "-5"}, None),
        ({"retry_after": "Sunday, 06-Nov-94 08:49:37 GMT"}, None),
        ({"retry_after": "Sun Nov  6 08:49:37 1994"}, None),
        ({"retry_after": "0"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry_after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read_in_all_its_forms(headers, seconds):
    """Milliseconds, seconds, fractions; what is zero, past, negative or nonsense is no hint."""
    assert error_of(429, **headers).retry_after == seconds


def test_the_wait_may_be_a_date():
    """An HTTP date is the seconds until then."""
    assert 28 < error_of(429, retry_after=in_seconds(30)).retry_after <= 30


@pytest.mark.parametrize(
    ("headers", "body", "found"),
    [
        ({"x_request_id": "req_1"}, b"", "req_1"),
        ({"request_id": "req_2"}, b"", "req_2"),
        ({"x_generation_id": "gen-3"}, b"", "gen-3"),
        ({"x_request_id": "req_1", "x_generation_id": "gen-3"}, b"", "req_1"),
        ({"x_dashscope_request_id": "d-4"}, b"", "d-4"),
        ({"apim_request_id": "a-4"}, b"", "a-4"),
        ({"x_amzn_requestid": "aws-5"}, b"", "aws-5"),
        ({"cf_ray": "8c-FRA"}, b"", "8c-FRA"),
        ({"cf_ray": "8c-FRA", "request_id": "req_2"}, b"", "req_2"),
        ({"x_request_id": "req_1"}, b'{"error": {"message": "no"}, "request_id": "r4"}', "r4"),
        ({}, b'{"error": {"message": "no"}, "request_id": "r4"}', "r4"),
        ({}, b'{"error": {"message": "no", "request_id": "r5"}}', "r5"),
        ({}, b'{"error": {"message": "no"}, "request_id": 6}', None),
        ({}, b"", None),
    ],
)
def test_the_name_of_the_request_is_found_wherever_it_stands(headers, body, found):
    """Headers of several names, or the body."""
    assert error_of(500, body, **headers).request_id == found


# Over the wire


def test_an_error_is_raised_in_the_loop_with_all_its_facts(net, provider):
    """Provider, model, phase, attempts, id and an empty answer are on the error."""
    net.post(URL, status=401, json={"error": {"message": f"Wrong key {KEY}"}}, headers={"X-Request-Id": "req_9"})
    with pytest.raises(Authentication) as caught:
        list(provider.stream("Hello"))
    error = caught.value
    assert (error.provider, error.model, error.status, error.phase) == ("compatible", "m-1", 401, "headers")
    assert (error.request_id, error.attempts, error.retryable) == ("req_9", 1, False)
    assert (error.response.text, error.response.complete, error.response.finish_reason) == ("", False, None)
    whole = pickle.loads(pickle.dumps(error))
    assert vars(whole) == vars(error)
    assert KEY not in "".join(traceback.format_exception(error))


def test_the_key_is_not_in_the_local_variables_that_a_report_would_show(net, provider):
    """Tools that print the variables of each frame print a mask."""
    net.post(URL, status=500, json={"error": {"message": "no"}})
    net.post(URL, status=500, json={"error": {"message": "no"}})
    net.post(URL, status=500, json={"error": {"message": "no"}})
    with pytest.raises(ServerError) as caught:
        provider.send("Hello")
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    ours = [frame for frame in frames if "promptstream" in frame.filename]
    assert len(ours) >= 4
    assert KEY not in repr([frame.locals for frame in ours])


def test_a_refused_turn_is_tried_again_and_counted(net, provider):
    """Overloaded, then a server error, then the answer: two waits, no trace of them in the answer."""
    waits = []
    provider.retry = Retry(base=0.001, on_retry=lambda error, delay: waits.append((type(error), error.attempts)))
    net.post(URL, status=503, body=b"busy")
    net.post(URL, body=sse({"error": {"message": "busy", "code": 502}}), content_type="text/event-stream")
    net.post(URL, body=sse(DELTA, STOP), content_type="text/event-stream")
    response = provider.send("Hello")
    assert (response.text, response.complete, response.finish_reason) == ("Hi", True, "stop")
    assert waits == [(Overloaded, 1), (ServerError, 2)]


def test_a_turn_that_was_tried_again_leaves_no_reference_cycle(provider):
    """The error of a failed attempt is freed by reference count, once its retry is over."""

    def scenario() -> None:
        with responses.RequestsMock(registry=OrderedRegistry) as net:
            net.post(URL, status=503, body=b"left behind")
            net.post(URL, body=sse(DELTA, STOP), content_type="text/event-stream")
            assert provider.send("Hello").text == "Hi"

    scenario()
    gc.collect()
    gc.disable()
    try:
        scenario()
        alive = [each for each in gc.get_objects() if isinstance(each, Overloaded) and "left behind" in str(each)]
        assert alive == []
    finally:
        gc.enable()


def test_the_last_error_says_how_often_was_tried(net, provider):
    """After the last attempt the error is raised, with their number."""
    for _ in range(3):
        net.post(URL, status=500, body=b"no")
    with pytest.raises(ServerError) as caught:
        provider.send("Hello")
    assert caught.value.attempts == 3


def test_nothing_is_tried_again_once_a_chunk_was_handed_out(net, provider):
    """An error in the middle of an answer is raised, however retryable it looks."""
    net.post(URL, body=sse(DELTA, {"error": {"message": "busy", "code": 503}}), content_type="text/event-stream")
    with pytest.raises(Overloaded) as caught:
        provider.send("Hello")
    assert caught.value.response.text == "Hi"
    assert len(net.calls) == 1


def test_an_attempt_that_failed_lends_its_finish_signal_to_no_other(net, provider):
    """A reason heard in a failed attempt does not make the next one whole: cut is cut."""
    net.post(URL, body=sse(STOP, {"error": {"message": "busy", "code": 503}}), content_type="text/event-stream")
    net.post(URL, body=sse(DELTA).replace(b"data: [DONE]\n\n", b""), content_type="text/event-stream")
    with pytest.raises(StreamError) as caught:
        provider.send("Hello")
    assert isinstance(caught.value, (Truncated, Overloaded))


def test_the_id_is_that_of_the_attempt_that_answered(net, provider):
    """A failed attempt's request id is not the answer's."""
    net.post(
        URL,
        body=sse({"error": {"message": "busy", "code": 503}}),
        content_type="text/event-stream",
        headers={"X-Request-Id": "req_failed"},
    )
    net.post(URL, body=sse(DELTA, STOP), content_type="text/event-stream", headers={"X-Request-Id": "req_whole"})
    assert provider.send("Hello").request_id == "req_whole"


def test_a_wait_longer_than_the_time_left_is_raised_at_once(net, provider):
    """Nobody sleeps for an hour: the provider's own error comes now, with its hint."""
    net.post(URL, status=429, body=b"slow down", headers={"Retry-After": "3600"})
    with pytest.raises(RateLimited) as caught:
        provider.send("Hello", timeout=30)
    assert caught.value.retry_after == 3600
    assert caught.value.attempts == 1


def test_an_error_copied_is_the_same_error(net, provider):
    """A copy of what was raised has everything but the traceback."""
    net.post(URL, status=404, json={"error": {"message": "no such model", "code": "model_not_found"}})
    with pytest.raises(NotFound) as caught:
        provider.send("Hello")
    twin = copy.copy(caught.value)
    assert (type(twin), vars(twin), twin.args) == (NotFound, vars(caught.value), caught.value.args)
    assert twin.__traceback__ is None
