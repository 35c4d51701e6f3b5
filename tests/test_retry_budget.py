"""A burst of failures does not become a storm: one provider object has so many retries in reserve, and no more."""

from __future__ import annotations

import os
import threading
from time import monotonic

import pytest
from dialects import DIALECTS
from server import PATIENCE, TEXT, each, error, finish, good, role, say, text
from test_retry import provider, streamed

import promptstream
from promptstream import Retry, errors
from promptstream.providers import Scripted
from promptstream.wire import retry as module
from promptstream.wire.retry import Retries

BUSY = errors.Overloaded("Busy.", retryable=True)
SPENT = "retry budget is spent"


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; a test moves it."""
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def taken(retries: Retries, most: int = 100) -> int:
    """Take retries until none is left, and give how many there were."""
    for number in range(most):
        if retries.delay(errors.Overloaded("Busy.", retryable=True), 1, float("inf")) is None:
            return number
    return most


# The reserve


def test_a_provider_object_has_twenty_retries_in_reserve(clock):
    """Then none is left, until some come back."""
    retries = Retries(Retry())
    assert taken(retries) == 20
    assert taken(retries) == 0


def test_one_comes_back_each_second(clock):
    """Up to the reserve, however long nothing failed."""
    retries = Retries(Retry(budget=5))
    assert taken(retries) == 5
    clock[0] += 0.9
    assert taken(retries) == 0
    clock[0] += 0.1
    assert taken(retries) == 1
    clock[0] += 3.5
    assert taken(retries) == 3
    clock[0] += 0.5
    assert taken(retries) == 1
    clock[0] += 1e6
    assert taken(retries) == 5


def test_half_a_retry_comes_back_with_each_answer(clock):
    """Two answers pay for one retry, and no stock is laid up beyond the reserve."""
    retries = Retries(Retry(budget=3))
    for _ in range(100):
        retries.answered()
    assert taken(retries) == 3
    retries.answered()
    assert taken(retries) == 0
    retries.answered()
    assert taken(retries) == 1


def test_none_is_no_budget(clock):
    """Retry(budget=None) tries every request as often as attempts says."""
    assert taken(Retries(Retry(budget=None)), most=1000) == 1000


def test_zero_lets_nothing_be_tried_again(clock):
    """Retry(budget=0) has nothing in reserve, ever."""
    retries = Retries(Retry(budget=0))
    retries.answered()
    clock[0] += 1000
    assert taken(retries) == 0


@pytest.mark.parametrize("budget", [-1, 1.5, True, "20", float("inf"), 2e6])
def test_what_is_no_budget_is_refused(budget):
    """A whole number from 0 up, or None."""
    with pytest.raises(ValueError, match=r"Retry\.budget"):
        Retry(budget=budget)


@pytest.mark.parametrize("hook", [5, "print", ()])
def test_what_cannot_be_called_is_no_hook(hook):
    """on_retry must be a function: found when the Retry is made, not when the first request fails."""
    with pytest.raises(TypeError, match=r"Retry\.on_retry"):
        Retry(on_retry=hook)


def test_an_error_that_is_not_tried_again_anyway_takes_nothing(clock):
    """A lasting fault, a wait that is too long, and the last attempt leave the reserve as it is."""
    retries = Retries(Retry(3, budget=2))
    lasting = errors.InvalidRequest("No.")
    late = errors.RateLimited("Later.", retryable=True, retry_after=3600)
    for _ in range(10):
        assert retries.delay(lasting, 1, 60.0) is None
        assert retries.delay(late, 1, 60.0) is None
        assert retries.delay(BUSY, 3, 60.0) is None
    assert SPENT not in f"{lasting}{late}{BUSY}"
    assert taken(retries) == 2


def test_many_threads_take_no_more_than_there_are(clock):
    """Taking one is exact under threads."""
    retries, counts = Retries(Retry(budget=500)), []
    threads = [threading.Thread(target=lambda: counts.append(taken(retries, 1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sum(counts) == 500


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_a_reserve_of_its_own(clock):
    """And no lock that another thread of the parent had locked."""
    retries = Retries(Retry(budget=3))
    assert taken(retries) == 3
    with retries._budget.get()._lock:
        child = os.fork()
        if child == 0:
            threading.Timer(5, os._exit, (9,)).start()
            seen = []
            other = threading.Thread(target=lambda: seen.append(taken(retries)))
            other.start()
            other.join()
            os._exit(0 if seen == [3] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert taken(retries) == 0


# On the wire


def test_a_hundred_threads_that_all_fail_do_not_become_three_hundred_requests(server):
    """With three attempts each and twenty in reserve: a hundred requests, twenty more, and one a second."""
    one = server(each(say(error("503 Busy"))))
    raised = []

    def ask():
        try:
            asked.send("Hi")
        except errors.Overloaded as fault:
            raised.append(fault)

    begun = monotonic()
    with provider(one.url, Retry(3, base=0.01)) as asked:
        threads = [threading.Thread(target=ask) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(raised) == 100
    assert 120 <= len(one.requests) <= 120 + monotonic() - begun
    assert sum(fault.attempts for fault in raised) == len(one.requests)
    assert sum(SPENT in str(fault) for fault in raised) >= 80
    assert all(fault.retryable for fault in raised)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_a_spent_budget_is_told_in_the_providers_own_error(server, dialect):
    """The error keeps its class, status and words, and adds why it was not tried again."""
    one = server(each(say(dialect.refusal("overloaded"))))
    with dialect.provider(one.origin, retry=Retry(3, base=0.001, budget=1)) as asked:
        with pytest.raises(errors.Overloaded, match=SPENT) as caught:
            dialect.send(asked)
        assert (caught.value.attempts, caught.value.status) == (2, dialect.wire.statuses["overloaded"])
        assert str(caught.value) == caught.value.message == caught.value.args[0]
        with pytest.raises(errors.Overloaded, match=SPENT) as caught:
            dialect.send(asked)
        assert caught.value.attempts == 1
    assert len(one.requests) == 3


def test_answers_earn_retries(server):
    """After two answers a spent budget has one retry again, on the wire too."""
    steps = [say(error("503 Busy")), good, say(error("503 Busy")), good, say(error("503 Busy")), good]
    one = server(each(*steps))
    with provider(one.url, Retry(2, base=0.001, budget=1)) as asked:
        assert asked.send("Hi").complete  # takes the one, regains half
        with pytest.raises(errors.Overloaded, match=SPENT):
            asked.send("Hi")
        assert asked.send("Hi").complete  # regains the other half
        assert asked.send("Hi").complete
    assert len(one.requests) == 6


def test_another_provider_object_has_its_own_budget(server):
    """Objects that share one Retry do not share its reserve."""
    rules = Retry(2, base=0.001, budget=1)
    one = server(each(say(error("503 Busy"))))
    for _ in range(3):
        with pytest.raises(errors.Overloaded) as caught:
            provider(one.url, rules).send("Hi")
        assert caught.value.attempts == 2


def test_a_fallback_is_no_retry(server):
    """Asking another provider costs neither's budget."""
    one = server(each(say(error("503 Busy"))))
    none = Retry(3, base=0.001, budget=0)
    second = Scripted(["Hello"] * 5)
    with promptstream.chat(provider=provider(one.url, none), fallback=[second]) as conv:
        for _ in range(5):
            assert conv.send("Hi").text == "Hello"
    assert len(one.requests) == 5


def test_a_stale_connection_is_repaired_although_the_budget_is_spent(server):
    """The repair is no retry."""

    def script(conn):
        conn.request()
        conn.answer()
        conn.recv()

    one = server(script)
    with provider(one.url, Retry(3, budget=0)) as asked:
        for _ in range(3):
            assert asked.send("Hi").text == TEXT


def test_an_answer_that_was_left_earns_nothing(server, clock):
    """Only one that came to its end does; the loop that was left tells nothing of the provider."""
    one = server(each(say(error("503 Busy")), streamed(role(), text("Once"), finish())))
    with provider(one.url, Retry(2, base=0.001, budget=1)) as asked:
        for _ in asked.stream("Hi"):
            break
        assert taken(asked._retries) == 0
