"""Requests and tokens a minute, kept against servers that count; on a clock that only the tests move."""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstream import RateLimits, Response, errors
from promptstream.batch.rates import Rates
from promptstream.batch.result import Result
from promptstream.values.budget import Spent

MINUTE = 60.0


@attrs.define(eq=False)
class Clock:
    """Time that passes when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Tell it."""
        return self.now


def rates(clock: Clock, rpm: float | None = None, tpm: float | None = None) -> Rates:
    """Give what is tested, by *clock*."""
    return Rates(rpm, tpm, clock=clock, wall=clock)


def back(
    index: int = 0,
    tokens: int = 0,
    *,
    attempts: int = 1,
    limits: RateLimits | None = None,
    error: errors.PromptStreamError | None = None,
) -> Result:
    """Give the result of a row that took *tokens*, and was told *limits*."""
    response = None if error else Response(complete=True, rate_limits=limits)
    return Result(index, {"message": "Hi"}, response, error, attempts, 1.0, Spent(tokens))


def sent(each: Rates, clock: Clock, amounts: list[int], late: Callable[[], float] = lambda: 0.0) -> list[float]:
    """Send rows of these tokens as fast as may be, each at most *late* after it might be, and give when they went."""
    moments = []
    for index, amount in enumerate(amounts):
        while wait := each.wait(amount, index):
            clock.now += wait + late()
        moments.append(clock.now)
        each.learn(back(index, amount))
    return moments


def most(moments: list[float], amounts: list[int]) -> int:
    """Give the most that went out within any minute."""
    window: deque[tuple[float, int]] = deque()
    total = largest = 0
    for moment, amount in zip(moments, amounts, strict=True):
        window.append((moment, amount))
        total += amount
        while window[0][0] <= moment - MINUTE:
            total -= window.popleft()[1]
        largest = max(largest, total)
    return largest


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 450), st.randoms(use_true_random=False))
def test_no_minute_has_more_requests_than_were_allowed(rpm, count, dice):
    """However late the caller comes back from its waits, and however long it does nothing in between."""
    clock = Clock()
    moments = sent(rates(clock, rpm), clock, [1] * count, lambda: dice.choice((0, 0, 0.01, 0.3, dice.uniform(0, 90))))
    assert most(moments, [1] * count) <= rpm


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 100_000), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=120))
def test_no_minute_has_more_tokens_than_were_allowed(tpm, parts):
    """Whatever the rows' sizes, up to the whole limit."""
    amounts = [max(1, round(part * tpm)) for part in parts]
    clock = Clock()
    assert most(sent(rates(clock, tpm=tpm), clock, amounts), amounts) <= tpm


@pytest.mark.parametrize("rpm", [1, 2, 7, 60, 500, 6000])
def test_nearly_all_of_a_limit_is_used(rpm):
    """95 % of it, with a caller that is a few milliseconds late each time."""
    clock, dice = Clock(), random.Random(7)
    count = min(10 * rpm, 6000)
    moments = sent(rates(clock, rpm), clock, [1] * count, lambda: dice.uniform(0, 0.005))
    assert count - 1 >= 0.95 * (moments[-1] - moments[0]) * rpm / MINUTE - 1


def test_nearly_all_of_a_limit_on_tokens_is_used():
    """Over ten minutes 90 %, with rows of one to three hundredths of it."""
    clock, dice = Clock(), random.Random(7)
    amounts = [dice.randint(1000, 3000) for _ in range(500)]
    moments = sent(rates(clock, tpm=100_000), clock, amounts)
    assert most(moments, amounts) <= 100_000
    assert sum(amounts) >= 0.9 * (moments[-1] - moments[0]) * 100_000 / MINUTE


@pytest.mark.parametrize("rpm", [30, 600, 6000])
def test_a_server_that_counts_by_the_second_is_kept_to_too(rpm):
    """Nothing comes in bursts: a bucket that holds a second's worth never runs dry, not even after a long silence."""
    clock, dice = Clock(), random.Random(7)
    each, late = rates(clock, rpm), lambda: dice.choice((0.0, 0.002, 0.4, 20.0)) if dice.random() < 0.01 else 0.0
    bucket, size, at = 0.0, max(2.0, rpm / MINUTE), -math.inf
    for moment in sent(each, clock, [1] * 1000, late):
        bucket, at = min(size, bucket + (moment - at) * rpm / MINUTE), moment
        assert bucket >= 1 - 1e-6
        bucket -= 1


def test_both_limits_hold_at_once():
    """The one that is tighter decides, row by row."""
    clock = Clock()
    amounts = [10] * 50 + [1000] * 50
    moments = sent(rates(clock, 60, 10_000), clock, amounts)
    assert most(moments, [1] * 100) <= 60
    assert most(moments, amounts) <= 10_000
    assert moments[49] - moments[0] == pytest.approx(49 * 63 / 60, abs=0.6)
    assert moments[99] - moments[50] == pytest.approx(49 * 6.3, rel=0.02)


def test_a_row_larger_than_the_limit_goes_alone():
    """It waits until the minute before it is empty, and no longer; the provider decides about it."""
    clock = Clock()
    each = rates(clock, tpm=1000)
    assert sent(each, clock, [900, 5000]) == pytest.approx([1000.0, 1062.5])
    assert each.wait(1) > 300


def test_without_a_limit_nothing_waits():
    """Neither given nor told."""
    clock = Clock()
    assert sent(rates(clock), clock, [10**6] * 100) == [1000.0] * 100


# What rows really take


def test_tokens_are_those_that_were_used_once_they_are_known():
    """A row that took more than was estimated makes the next ones wait for it, one that took less does not."""
    clock = Clock()
    each = rates(clock, tpm=1000)
    assert each.wait(100, 1) == 0
    each.learn(back(1, 1000))
    assert each.wait(1, 2) == pytest.approx(62.5)
    clock.now += 600
    assert each.wait(1000, 3) == 0
    each.learn(back(3, 10))
    assert each.wait(0, 4) == pytest.approx(10 * 63 / 1000 - 0.5, abs=0.2)


def test_what_rows_take_beyond_their_estimates_is_learned():
    """After a few rows each new one is counted with the answer that it will have."""
    clock = Clock()
    each = rates(clock, tpm=60_000)
    for index in range(30):
        while wait := each.wait(100, index):
            clock.now += wait
        each.learn(back(index, 1000))
    clock.now += 100
    start = clock.now
    for index in range(30, 40):
        while wait := each.wait(100, index):
            clock.now += wait
    assert clock.now - start == pytest.approx(9 * 1000 * 63 / 60_000 - 0.5, rel=0.1)


def test_rows_come_back_in_any_order():
    """Each is known by its index; what a small one took is not put in a large one's place."""
    clock = Clock()
    each = rates(clock, tpm=1000)
    assert each.wait(600, 1) == 0
    clock.now += 40
    assert each.wait(100, 2) == 0
    each.learn(back(2, 100))
    assert each.wait(400, 3) == pytest.approx(22.5)


def test_a_row_that_sent_nothing_takes_nothing():
    """Its request and its tokens are given back."""
    clock = Clock()
    each = rates(clock, 1, 1000)
    assert each.wait(1000, 1) == 0
    each.learn(back(1, attempts=0, error=errors.ConfigError("No such variable.")))
    assert each.wait(1000, 2) == 0


def test_a_scripted_answer_counts_as_a_request():
    """Although no attempt is counted where nothing goes over a wire."""
    each = rates(Clock(), 1)
    assert each.wait(0, 1) == 0
    each.learn(back(1, attempts=0))
    assert each.wait(0, 2) == pytest.approx(62.5)


def test_tool_rounds_and_retries_count_as_requests():
    """When their row is done."""
    clock = Clock()
    each = rates(clock, 10)
    assert each.wait(0, 1) == 0
    each.learn(back(1, attempts=10))
    assert each.wait(0, 2) == pytest.approx(62.5)


def test_a_result_of_no_row_that_was_counted_changes_nothing():
    """As of one that was done before this run."""
    each = rates(Clock(), 10)
    each.learn(back(5, 100))
    assert each.wait(0) == 0


# What the provider tells


def told(clock: Clock, left: int, limit: int | None = 100, reset: float | None = 60.0, age: float = 0.0) -> Result:
    """Give a result whose headers told this, *age* seconds ago."""
    limits = RateLimits(requests=limit, requests_left=left, requests_reset=reset, at=clock.now - age)
    return back(limits=limits)


def test_what_is_left_is_spread_over_the_time_to_the_reset():
    """Ten that are left for half a minute go out one in three seconds; then the limit is whole again."""
    clock = Clock()
    each = rates(clock)
    each.wait()
    each.learn(told(clock, left=10, reset=30))
    moments = sent_by_headers(each, clock, 12)
    assert moments[:10] == pytest.approx([1003 + 3 * step for step in range(10)])
    assert moments[10:] == [1030, 1030]


def sent_by_headers(each: Rates, clock: Clock, count: int) -> list[float]:
    """Send *count* rows as fast as may be, of which none comes back."""
    moments = []
    for _ in range(count):
        while wait := each.wait():
            clock.now += wait
        moments.append(clock.now)
    return moments


def test_nothing_is_held_back_while_half_of_the_limit_is_left():
    """And no more than is left goes out before the reset."""
    clock = Clock()
    each = rates(clock)
    each.wait()
    each.learn(told(clock, left=99))
    moments = sent_by_headers(each, clock, 150)
    assert moments[:49] == [1000.0] * 49
    assert sum(moment < 1060 - 1e-6 for moment in moments) == 98
    assert moments[98:] == pytest.approx([1060] * 52)


def test_nothing_goes_out_where_nothing_is_left():
    """Until the reset."""
    clock = Clock()
    each = rates(clock)
    each.wait()
    each.learn(told(clock, left=0, reset=20))
    assert each.wait() == pytest.approx(20)


def test_what_was_told_before_what_is_known_is_out_of_date():
    """A row that took long does not bring back what was left when it began; what went out since counts."""
    clock = Clock()
    each = rates(clock)
    for _ in range(10):
        each.wait()
        clock.now += 1
    each.learn(told(clock, left=8, reset=20, age=5.5))  # five went out since
    wait = pytest.approx(14.5 / 3 - 1)
    assert each.wait() == wait
    each.learn(told(clock, left=90, reset=1, age=8))
    assert each.wait() == wait
    each.learn(told(clock, left=0, reset=60, age=61))
    assert each.wait() == wait


def test_a_quota_of_a_day_is_not_spread_over_the_day():
    """It is used, and then the provider's own words come."""
    clock = Clock()
    each = rates(clock)
    each.wait()
    each.learn(told(clock, left=3, limit=1000, reset=40_000))
    assert each.wait() == 0


def test_a_limit_without_a_reset_is_taken_for_one_a_minute():
    """Azure tells what is left and no more."""
    clock = Clock()
    each = rates(clock)
    each.wait()
    each.learn(told(clock, left=6, limit=None, reset=None))
    assert each.wait() == pytest.approx(10)


@pytest.mark.parametrize(("limit", "window"), [(50, 60.0), (300, 60.0), (20, 1.0)])
@pytest.mark.parametrize("kind", ["bucket", "fixed"])
def test_a_server_is_never_outrun_and_nearly_used_up_by_its_headers_alone(kind, limit, window):
    """With no limit given, a bucket and a fixed window that tell theirs refuse nothing, and lose a tenth at most."""
    clock, dice = Clock(), random.Random(7)
    each = rates(clock)
    left, began, answers = float(limit), clock.now, deque[tuple[float, Result]]()
    served, refused, start, at = 0, 0, clock.now, clock.now
    index = 0
    while clock.now < start + 10 * window:
        wait = each.wait(0, index)
        if wait == 0:
            if kind == "bucket":
                left = min(limit, left + (clock.now - at) * limit / window)
                reset = (limit - left + 1) * window / limit
            else:
                passed = (clock.now - began) // window
                left, began = (limit if passed else left), began + passed * window
                reset = began + window - clock.now
            at = clock.now
            served, refused = (served + 1, refused) if left >= 1 else (served, refused + 1)
            left = max(0.0, left - 1)
            told_now = RateLimits(limit, int(left), reset, at=clock.now)
            answers.append((clock.now + dice.uniform(0.001, 0.01) * window, back(index, limits=told_now)))
            index += 1
        full = len(answers) >= 8
        if wait or full:
            soonest = min(moment for moment, _ in answers) if answers else math.inf
            clock.now = max(clock.now, soonest if full else min(soonest, clock.now + wait))
            for moment, result in sorted(answers, key=lambda pair: pair[0]):
                if moment <= clock.now:
                    answers.remove((moment, result))
                    each.learn(result)
    assert refused == 0
    assert served >= 0.9 * limit * 10


# Refusals


def refusal(retry_after: float | None = None, kind: Any = errors.RateLimited, **more: Any) -> Result:
    """Give the result of a row that was refused."""
    return back(error=kind("Slow down.", status=429, retry_after=retry_after, **more))


@pytest.mark.parametrize("kind", [errors.RateLimited, errors.Overloaded])
def test_a_refusal_holds_all_rows_as_long_as_it_asks(kind):
    """The longest of several counts."""
    clock = Clock()
    each = rates(clock)
    each.learn(refusal(7.0, kind))
    each.learn(refusal(2.0, kind))
    assert each.wait() == pytest.approx(7)
    clock.now += 7
    assert each.wait() == 0


def test_pauses_grow_while_refusals_name_no_time():
    """1, 2, 4 … up to 60 s; those that were out already add nothing, and a quiet minute begins anew."""
    clock = Clock()
    each = rates(clock)
    pauses = []
    for _ in range(8):
        each.learn(refusal())
        clock.now += 0.25
        each.learn(refusal())
        pauses.append(each.wait() + 0.25)
        clock.now += pauses[-1] + 10
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    clock.now += 100
    each.learn(refusal())
    assert each.wait() == pytest.approx(1)


def test_other_errors_hold_nobody():
    """A row's own trouble is its own."""
    each = rates(Clock())
    for kind in (errors.QuotaExceeded, errors.ServerError, errors.ContextTooLong):
        each.learn(refusal(30.0, kind))
    each.learn(back(error=errors.ToolLoopLimit("Eleven rounds.")))
    assert each.wait() == 0


def test_a_refusals_headers_are_read_too():
    """What is left after it is spread."""
    clock = Clock()
    each = rates(clock)
    each.learn(refusal(rate_limits=RateLimits(100, 0, 30.0, at=clock.now)))
    assert each.wait() == pytest.approx(30)


def test_threads_together_keep_the_limit():
    """Eight ask at once: what goes out at once is what one alone would be given."""
    clock = Clock()
    each = rates(clock, 6000)
    gone: list[float] = []

    def ask() -> None:
        for _ in range(200):
            gone.append(each.wait())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gone.count(0.0) == 48


@pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan, True, "60"])
@pytest.mark.parametrize("name", ["rpm", "tpm"])
def test_what_is_no_number_above_0_is_told(name, wrong):
    """Before anything is sent."""
    with pytest.raises(errors.ConfigError, match=f"{name}={wrong!r}: give a number a minute, above 0"):
        Rates(**{name: wrong})
