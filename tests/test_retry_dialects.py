"""Trying again in all six dialects: what each may say about waiting, what is repeated, and by which key."""

from __future__ import annotations

import threading
from email.utils import formatdate
from time import monotonic, time
from uuid import UUID

import pytest
from dialects import DIALECTS, TEXT, Dialect
from server import PATIENCE, Gone, each, full, head, say
from wires import WIRES
from wires.base import dumps

import promptstream
from promptstream import Retry, Timeout, errors
from promptstream.providers import Scripted

FAST = Retry(3, base=0.001)
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
OPENROUTER = Dialect("openrouter", WIRES["openrouter"])


def good(dialect):
    """Make a step that answers well."""
    return say(dialect.good())


def worded(dialect, words, **more):
    """Give a rate limit that says *words* to people, and *more* in its error object."""
    body = dialect.wire.said("rate")
    if isinstance(body["error"], str):
        body["error"] = words
    else:
        body["error"] |= {"message": words, **more}
    return full("429 No", dumps(body))


def dying(conn, request):
    """Close without a byte of an answer."""
    conn.close()


# What a provider says about waiting


@every_dialect
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "0.11"}, 0.11),
        ({"retry_after_ms": "110"}, 0.11),
        ({"retry_after_ms": "110", "Retry_After": "60"}, 0.11),
    ],
    ids=["seconds", "milliseconds", "both"],
)
def test_the_wait_that_a_header_asks_for_is_kept_in_every_dialect(server, dialect, headers, seconds):
    """Retry-After in seconds, and retry-after-ms before it."""
    told, took = [], []
    retry = Retry(2, base=0.001, on_retry=lambda error, delay: told.append((error.retry_after, delay)))
    while len(took) < 3 and not (took and min(took) <= seconds + 0.4):  # the fastest of three counts
        one = server(each(say(dialect.refusal("rate", **headers)), good(dialect)))
        with dialect.provider(one.origin, retry=retry) as asked:
            begun = monotonic()
            assert dialect.send(asked).text == TEXT
            took.append(monotonic() - begun)
    assert seconds <= min(took) <= seconds + 0.4
    assert told == [(pytest.approx(seconds), pytest.approx(seconds))] * len(took)


@every_dialect
def test_a_date_is_understood_in_every_dialect(server, dialect):
    """Retry-After as an HTTP date is the time until then; that it is waited for is shown elsewhere."""

    class Enough(Exception):
        """Ends the turn before the wait."""

    def hook(error, delay):
        assert 27 < delay == error.retry_after <= 30
        raise Enough

    late = lambda: dialect.refusal("rate", Retry_After=formatdate(time() + 30, usegmt=True))  # noqa: E731
    one = server(each(lambda conn, request: conn.send(late())))
    with dialect.provider(one.origin, retry=Retry(2, on_retry=hook)) as asked, pytest.raises(Enough):
        dialect.send(asked)


@every_dialect
def test_a_wait_in_words_is_kept_in_every_dialect(server, dialect):
    """Where nothing else says it, the text of the error does."""
    told = []
    retry = Retry(2, base=0.001, on_retry=lambda error, delay: told.append(delay))
    one = server(each(say(worded(dialect, "Rate limit reached. Please try again in 110ms.")), good(dialect)))
    with dialect.provider(one.origin, retry=retry) as asked:
        assert dialect.send(asked).text == TEXT
    assert told == [pytest.approx(0.11)]


@pytest.mark.parametrize(
    ("dialect", "more"),
    [
        (
            DIALECTS["gemini"],
            {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.11s"}]},
        ),
        (OPENROUTER, {"metadata": {"error_type": "rate_limit_exceeded", "retry_after": 0.11}}),
        (OPENROUTER, {"availability": {"retry_after": 0.11}}),
    ],
    ids=["gemini", "openrouter-metadata", "openrouter-availability"],
)
def test_a_wait_in_the_body_is_kept(server, dialect, more):
    """Google's RetryInfo, OpenRouter's metadata and availability."""
    told = []
    retry = Retry(2, base=0.001, on_retry=lambda error, delay: told.append(delay))
    one = server(each(say(worded(dialect, "Slow down.", **more)), good(dialect)))
    with dialect.provider(one.origin, retry=retry) as asked:
        assert dialect.send(asked).text == TEXT
    assert told == [pytest.approx(0.11)]


@every_dialect
@pytest.mark.parametrize(("asked_for", "total"), [("6", 5), ("121", None)], ids=["the time left", "two minutes"])
def test_a_wait_that_is_too_long_is_not_begun_in_any_dialect(server, dialect, asked_for, total):
    """Longer than the time left, or than 120 s: the provider's own error is raised at once."""
    one = server(each(say(dialect.refusal("rate", Retry_After=asked_for)), good(dialect)))
    timeout = Timeout(connect=5, first=5, idle=5, total=total)
    with dialect.provider(one.origin, retry=FAST, timeout=timeout) as asked:
        begun = monotonic()
        with pytest.raises(errors.RateLimited) as caught:
            dialect.send(asked)
    assert monotonic() - begun <= 0.5
    assert (caught.value.retry_after, caught.value.retryable, caught.value.attempts) == (float(asked_for), True, 1)
    assert len(one.requests) == 1


@every_dialect
@pytest.mark.parametrize(("kind", "told", "requests"), [("context", "true", 2), ("overloaded", "false", 1)])
def test_x_should_retry_is_obeyed_in_every_dialect(server, dialect, kind, told, requests):
    """The provider's own word goes before its status, either way."""
    one = server(each(say(dialect.refusal(kind, X_Should_Retry=told)), good(dialect)))
    with dialect.provider(one.origin, retry=FAST) as asked:
        if told == "true":
            assert dialect.send(asked).text == TEXT
        else:
            with pytest.raises(errors.Overloaded):
                dialect.send(asked)
    assert len(one.requests) == requests


def test_waits_are_drawn_evenly():
    """Full jitter: each quarter of the range from 0 to base·2ⁿ gets about as many waits as the others."""
    retry, fault = Retry(5, base=0.5, longest=8.0), errors.Overloaded("Busy.", retryable=True)
    for attempt, most in [(1, 0.5), (2, 1.0), (3, 2.0)]:
        quarters = [0] * 4
        for _ in range(4000):
            delay = retry.delay(fault, attempt, float("inf"))
            assert 0 <= delay <= most
            quarters[min(3, int(4 * delay / most))] += 1
        assert min(quarters) > 800, quarters  # 1000 each; 800 is seven standard deviations off


# What is repeated


@every_dialect
@pytest.mark.parametrize("kind", ["rate", "overloaded", "server"])
def test_a_passing_fault_is_tried_again_in_every_dialect(server, dialect, kind):
    """The same request goes out again, and nothing of the failed attempt stays."""
    one = server(each(say(dialect.refusal(kind)), good(dialect)))
    with dialect.provider(one.origin, retry=FAST) as asked:
        response = dialect.send(asked)
    assert (response.text, response.complete, response.warnings) == (TEXT, True, ())
    assert len(one.requests) == 2
    assert one.requests[0].body == one.requests[1].body


@every_dialect
@pytest.mark.parametrize("kind", ["auth", "missing", "context"])
def test_a_lasting_fault_is_not_tried_again_in_any_dialect(server, dialect, kind):
    """What will not pass is raised after one attempt."""
    one = server(each(say(dialect.refusal(kind)), good(dialect)))
    with dialect.provider(one.origin, retry=FAST) as asked, pytest.raises(errors.ProviderError) as caught:
        dialect.send(asked)
    assert (caught.value.retryable, caught.value.attempts, len(one.requests)) == (False, 1, 1)


@every_dialect
@pytest.mark.parametrize("begun", [False, True], ids=["as the first event", "after a chunk"])
def test_an_error_in_the_stream_is_tried_again_only_before_the_first_chunk(server, dialect, begun):
    """Once a chunk was handed out nothing is sent again, in any dialect."""
    if "midstream" in dialect.wire.lacks:
        pytest.skip(dialect.wire.lacks["midstream"])
    ahead = b"".join(dialect.events("Half", finish=None)) if begun else b""
    body = ahead + dialect.failure("overloaded")
    failing = head(content_type=dialect.wire.stream_type, Content_Length=str(len(body))) + body
    one = server(each(say(failing), good(dialect)))
    with dialect.provider(one.origin, retry=FAST) as asked:
        if begun:
            with pytest.raises(promptstream.StreamError) as caught:
                dialect.send(asked)
            assert (caught.value.response.text, caught.value.attempts) == ("Half", 1)
        else:
            assert dialect.send(asked).text == TEXT
    assert len(one.requests) == (1 if begun else 2)


@every_dialect
@pytest.mark.parametrize("retry", [Retry(0), Retry(1)], ids=["0", "1"])
def test_retrying_can_be_turned_off_in_every_dialect(server, dialect, retry):
    """Retry(0) and Retry(1) send once."""
    one = server(each(say(dialect.refusal("overloaded")), good(dialect)))
    with dialect.provider(one.origin, retry=retry) as asked, pytest.raises(errors.Overloaded) as caught:
        dialect.send(asked)
    assert (caught.value.attempts, len(one.requests)) == (1, 1)
    assert "budget" not in str(caught.value)


@every_dialect
@pytest.mark.parametrize("how", ["default", "allowed", "keyed"])
def test_a_request_that_died_whole_is_repeated_only_where_it_does_no_harm(server, dialect, how):
    """An ambiguous POST goes out again by Retry(ambiguous=True), or where the server knows repeated ones."""
    options = {
        "default": {"retry": FAST},
        "allowed": {"retry": Retry(3, base=0.001, ambiguous=True)},
        "keyed": {"retry": FAST, "idempotency_header": "Idempotency-Key"},
    }[how]
    one = server(each(dying, dying, good(dialect)))
    with dialect.provider(one.origin, **options) as asked:
        if how == "default":
            with pytest.raises(errors.ConnectFailed) as caught:
                dialect.send(asked)
            assert (caught.value.phase, caught.value.retryable, caught.value.attempts) == ("headers", False, 1)
        else:
            assert dialect.send(asked).text == TEXT
    assert len(one.requests) == (1 if how == "default" else 3)


@every_dialect
def test_a_stale_connection_is_repaired_unseen_in_every_dialect(server, dialect):
    """A pooled connection that the server closes as the next request arrives is replaced, and counts as no attempt."""

    def script(conn):
        conn.request()
        conn.send(dialect.good())
        conn.recv()

    one = server(script)
    with dialect.provider(one.origin, retry=Retry(0)) as asked:
        for _ in range(3):
            assert dialect.send(asked).text == TEXT
    assert len(one.requests) == len(one.connections) == 3


# on_retry


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError("mine"), errors.ConfigError("mine"), KeyboardInterrupt()], ids=repr
)
def test_an_exception_in_on_retry_ends_the_turn_cleanly(server, fault):
    """It is what the turn raises; no connection stays in use, and the conversation takes the next turn."""

    def hook(error, delay):
        raise fault

    dialect = DIALECTS["chat"]
    one = server(each(say(dialect.refusal("overloaded")), good(dialect)))
    asked = dialect.provider(one.origin, retry=Retry(3, base=0.001, on_retry=hook), max_in_flight=1)
    with asked, promptstream.chat(provider=asked) as conv:
        stream = conv.stream("Hi")
        with pytest.raises(type(fault)) as caught:
            list(stream)
        assert caught.value is fault
        assert stream.response.complete is False
        assert conv.messages == []
        assert conv.send("Hi").text == TEXT
    assert len(one.requests) == 2
    assert one.requests[0].body == one.requests[1].body
    for conn in one.connections:
        assert conn.gone.wait(PATIENCE)


def test_on_retry_may_cancel(server):
    """A cancel from inside the hook ends the turn before the wait."""
    dialect, token = DIALECTS["chat"], promptstream.CancelToken()
    retry = Retry(3, base=60, longest=60, on_retry=lambda *told: token.cancel("enough"))
    one = server(each(say(dialect.refusal("overloaded")), good(dialect)))
    with dialect.provider(one.origin, retry=retry) as asked:
        begun = monotonic()
        with pytest.raises(errors.Cancelled, match="enough"):
            dialect.send(asked, cancel=token)
    assert monotonic() - begun <= 1
    assert len(one.requests) == 1


# Over fallback


def test_each_provider_of_a_fallback_has_its_own_attempts(server):
    """The attempts are bounded by the sum over the providers; the error that is left tells them all."""
    dialect = DIALECTS["chat"]
    first, second = (server(each(say(dialect.refusal("overloaded")))) for _ in range(2))
    providers = [
        dialect.provider(first.origin, retry=Retry(3, base=0.001)),
        dialect.provider(second.origin, retry=Retry(2, base=0.001)),
    ]
    with (
        promptstream.chat(provider=providers[0], fallback=[providers[1]]) as conv,
        pytest.raises(errors.Overloaded) as caught,
    ):
        conv.send("Hi")
    assert (len(first.requests), len(second.requests), caught.value.attempts) == (3, 2, 5)


# The key of a request


def keys(one):
    """Give the keys that the server was sent."""
    return [request.headers.get("idempotency-key") for request in one.requests]


@every_dialect
def test_a_request_keeps_its_key_over_all_attempts_and_the_next_has_another(server, dialect):
    """One fresh UUID to a logical send, whatever becomes of its attempts."""
    refused = say(dialect.refusal("overloaded"))
    one = server(each(refused, dying, good(dialect), good(dialect)))
    with dialect.provider(one.origin, retry=FAST, idempotency_header="Idempotency-Key") as asked:
        assert dialect.send(asked).text == TEXT
        assert dialect.send(asked).text == TEXT
    first, second, third, other = keys(one)
    assert first == second == third != other
    assert UUID(first).version == UUID(other).version == 4


def test_the_repair_of_a_stale_connection_keeps_the_key(server):
    """The repaired request is the same one."""
    dialect = DIALECTS["chat"]
    seen = []

    def script(conn):
        while True:
            seen.append(conn.request().headers["idempotency-key"])
            if len(seen) == 2:
                raise Gone
            conn.send(dialect.good())

    one = server(script)
    with dialect.provider(one.origin, idempotency_header="Idempotency-Key") as asked:
        dialect.send(asked)
        dialect.send(asked)
    first, second, repaired = seen
    assert first != second == repaired


@every_dialect
def test_no_key_is_sent_unasked(server, dialect):
    """No inference API documents such a header today, and one would promise what is not kept."""
    one = server(each(good(dialect)))
    with dialect.provider(one.origin) as asked:
        dialect.send(asked)
    assert not [name for name in one.requests[0].headers if "idempot" in name]


def test_a_dialect_may_name_its_own_header(server):
    """A provider that honours one by itself says so on its dialect; "" turns it off."""
    dialect = DIALECTS["chat"]
    one = server(each(good(dialect)))
    made = dialect.provider(one.origin)
    named = type("Named", (type(made.dialect),), {"idempotency_header": "X-Request-Key"})

    def make(**options):
        return promptstream.Provider(named(api_key="sk-0123456789", base_url=made.dialect.base_url), **options)

    make().send("Hi")
    make(idempotency_header="Other-Key").send("Hi")
    make(idempotency_header="").send("Hi")
    with_key = [{name for name in request.headers if name.endswith("-key")} for request in one.requests]
    assert with_key == [{"x-request-key"}, {"other-key"}, set()]


@pytest.mark.parametrize("name", ["Idempotency Key", "Key:", "Schlüssel", "Key\r\nX: y", 5, True, b"Key"])
def test_what_cannot_name_a_header_is_refused(name):
    """Found when the provider is made."""
    with pytest.raises(errors.ConfigError, match="idempotency_header"):
        Scripted(idempotency_header=name)


def test_a_misspelt_option_is_told_its_name():
    """The options of every provider are part of the suggestion."""
    with pytest.raises(errors.ConfigError, match="idempotency_header"):
        promptstream.providers.Compatible("http://127.0.0.1:1/v1", idempotency_key="x")
    with pytest.raises(errors.ConfigError, match="max_in_flight"):
        promptstream.providers.Compatible("http://127.0.0.1:1/v1", max_inflight=1)


# Unary calls

LISTED = [each for each in DIALECTS.values() if not each.completes]


@pytest.mark.parametrize("dialect", LISTED, ids=str)
@pytest.mark.parametrize("fault", ["overloaded", "dying"])
def test_a_list_of_models_is_asked_for_again(server, dialect, fault):
    """A GET does no harm when it is repeated, so that one that died whole is, too."""
    failing = dying if fault == "dying" else say(dialect.refusal("overloaded"))
    listed = say(full("200 OK", dumps(dialect.wire.models()[1])))
    one = server(each(failing, failing, listed))
    with dialect.provider(one.origin, retry=FAST) as asked:
        assert [model.id for model in asked.models()] == ["alpha", "beta"]
    assert len(one.requests) == 3
    assert {request.method for request in one.requests} == {"GET"}


@pytest.mark.parametrize("dialect", LISTED, ids=str)
def test_a_list_of_models_is_given_up_by_the_same_rules(server, dialect):
    """attempts, Retry-After, on_retry and the budget hold for unary calls."""
    told = []
    retry = Retry(2, base=0.001, budget=1, on_retry=lambda error, delay: told.append(delay))
    one = server(each(say(dialect.refusal("rate", Retry_After="0.05"))))
    with dialect.provider(one.origin, retry=retry) as asked:
        with pytest.raises(errors.RateLimited) as caught:
            asked.models()
        assert (caught.value.attempts, told) == (2, [0.05])
        with pytest.raises(errors.RateLimited, match="budget"):
            asked.models()
    assert len(one.requests) == 3


def test_openrouters_account_is_asked_again(server):
    """credits() and generation() are retried as lists of models are."""
    credit = {"data": {"total_credits": 10, "total_usage": 2.5}}
    one = server(each(dying, say(OPENROUTER.refusal("overloaded")), say(full("200 OK", dumps(credit)))))
    with OPENROUTER.provider(one.origin, retry=FAST) as asked:
        assert asked.credits() is not None
    assert len(one.requests) == 3


def test_a_unary_call_stops_at_the_total_while_it_waits(server):
    """The wait between its attempts is bounded by the total deadline."""
    dialect = DIALECTS["chat"]
    one = server(each(say(dialect.refusal("overloaded"))))
    timeout = Timeout(connect=5, first=5, idle=5, total=0.2)
    retry = Retry(100, base=0.02, longest=0.02, budget=None)
    with dialect.provider(one.origin, retry=retry, timeout=timeout) as asked:
        begun = monotonic()
        with pytest.raises((errors.Overloaded, errors.DeadlineExceeded)):
            asked.models()
    assert monotonic() - begun <= 0.45


def test_unary_calls_of_many_threads_share_the_budget(server):
    """A burst of lists becomes no storm either."""
    dialect = DIALECTS["chat"]
    one = server(each(say(dialect.refusal("overloaded"))))
    with dialect.provider(one.origin, retry=Retry(3, base=0.001, budget=2)) as asked:

        def ask():
            with pytest.raises(errors.Overloaded):
                asked.models()

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert 12 <= len(one.requests) <= 13
