"""Deadlines, tokens and the one watchdog, without a wire."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

import promptstream
from promptstream import CancelToken, Timeout, errors
from promptstream.wire import watch as module
from promptstream.wire.watch import FOREVER, Deadline, Watch

ROOT = Path(promptstream.__file__).parents[1]


@pytest.fixture
def pair():
    """Two connected sockets: ours, and the server's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def running(*args):
    """Make a watch that has been started; the caller ends it."""
    watch = Watch(*args)
    watch.start()
    return watch


# Deadline


def test_a_deadline_counts_down_and_never_below_zero():
    """remaining() shrinks to 0 and stays there; expired tells."""
    deadline = Deadline(0.03)
    first = deadline.remaining()
    assert 0 < first <= 0.03
    assert not deadline.expired
    sleep(0.04)
    assert deadline.remaining() == 0.0
    assert deadline.expired


def test_no_limit_is_infinite():
    """Deadline(None) never expires."""
    deadline = Deadline(None)
    assert deadline.remaining() == FOREVER
    assert not deadline.expired


# CancelToken


def test_a_token_cancels_once():
    """The first cancel and its reason count; callbacks are called once."""
    token, heard = CancelToken(), []
    token.on_cancel(lambda: heard.append(token.reason))
    assert not token.cancelled
    token.cancel("first")
    token.cancel("second")
    assert token.cancelled
    assert token.reason == "first"
    assert heard == ["first"]


def test_a_token_cancelled_already_calls_back_at_once():
    """on_cancel after the cancel calls at once; taking off is harmless then."""
    token, heard = CancelToken(), []
    token.cancel("why")
    token.on_cancel(lambda: heard.append(token.reason))()
    assert heard == ["why"]


def test_a_callback_may_be_taken_off():
    """What was taken off is not called; taking it off twice, or after the cancel, is harmless."""
    token, heard = CancelToken(), []
    forget = token.on_cancel(lambda: heard.append(token.reason))
    other = token.on_cancel(lambda: heard.append(f"other: {token.reason}"))
    forget()
    forget()
    token.cancel("why")
    other()
    assert heard == ["other: why"]


def test_a_callback_may_use_its_token():
    """A callback may cancel again, subscribe and take itself off."""
    token, heard = CancelToken(), []

    def callback():
        token.cancel("again")
        token.on_cancel(lambda: heard.append(token.reason))
        forget()

    forget = token.on_cancel(callback)
    token.cancel("why")
    assert heard == ["why"]


def test_every_stream_of_a_token_stops_although_a_callback_fails():
    """One callback that raises does not keep the streams behind it running."""
    token = CancelToken()

    def broken():
        raise ZeroDivisionError

    token.on_cancel(broken)
    watch = running(Timeout(), token)
    try:
        with suppress(ZeroDivisionError):
            token.cancel()
        assert watch.stopped == "cancelled"
    finally:
        watch.end()


def test_a_token_forgets_streams_that_are_over():
    """A long-lived token does not collect the streams it was given to."""
    token = CancelToken()
    for _ in range(50):
        running(Timeout(), token).end()
    assert not token._callbacks


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="signals")
def test_a_handler_may_cancel_while_its_thread_is_inside_the_token():
    """A signal that arrives while the thread holds the token's lock does not deadlock."""
    token = CancelToken()
    before = signal.signal(signal.SIGINT, lambda number, frame: token.cancel("a signal"))
    try:
        with token._lock:
            signal.raise_signal(signal.SIGINT)
        assert token.reason == "a signal"
    finally:
        signal.signal(signal.SIGINT, before)


def test_many_threads_may_cancel_and_subscribe():
    """Every callback is called exactly once, whoever wins the race."""
    for _ in range(20):
        token, heard, gate = CancelToken(), [], threading.Barrier(6)

        def subscribe(token=token, heard=heard, gate=gate):
            gate.wait(5)
            for number in range(20):
                token.on_cancel(lambda number=number: heard.append((threading.get_ident(), number)))

        def cancel(token=token, gate=gate):
            gate.wait(5)
            token.cancel()

        threads = [threading.Thread(target=work) for work in (*[subscribe] * 4, *[cancel] * 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert len(heard) == 80


# Watch


@pytest.mark.parametrize("event", [False, True])
def test_a_stop_shuts_the_socket_it_owns(pair, event):
    """Whoever stops the watch wakes a reader that is blocked in its socket."""
    ours, _ = pair
    token = threading.Event() if event else CancelToken()
    watch = running(Timeout(), token)
    try:
        watch.claim(ours)
        threading.Timer(0.02, token.set if event else token.cancel).start()
        assert ours.recv(1) == b""
        with pytest.raises(errors.Cancelled):
            watch.check()
    finally:
        watch.end()


def test_a_stop_leaves_a_released_socket_alone(pair):
    """What the watch has let go of belongs to somebody else."""
    ours, theirs = pair
    watch = running(Timeout(), None)
    watch.claim(ours)
    watch.release()
    watch.cancel()
    watch.end()
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"


def test_a_claim_after_the_stop_shuts_at_once(pair):
    """A socket that comes too late is shut down and the claim raises."""
    ours, theirs = pair
    watch = running(Timeout(), None)
    watch.cancel("enough")
    with pytest.raises(errors.Cancelled, match="enough"):
        watch.claim(ours)
    assert theirs.recv(1) == b""
    watch.end()


def test_the_first_stop_wins(pair):
    """A stopped watch keeps its reason."""
    watch = running(Timeout(), None)
    watch.stop("idle")
    watch.cancel("late")
    with pytest.raises(errors.IdleTimeout):
        watch.check()
    watch.end()


def test_a_cancel_is_not_lost_where_a_connect_clock_ran_out_first():
    """The user's stop holds, also when it comes after the clock's and before the next attempt."""
    token = CancelToken()
    watch = running(Timeout(), token)
    try:
        watch.stop("connect")
        token.cancel("enough")
        assert not watch.resume()
        with pytest.raises(errors.Cancelled, match="enough"):
            watch.check()
    finally:
        watch.end()


def test_a_retry_after_connect_clocks_ran_out_still_waits():
    """The sleep before the next attempt is a whole one, however many connects ran out before."""
    watch = running(Timeout(), None)
    try:
        for _ in range(2):
            watch.stop("connect")
            assert watch.resume()
            begun = monotonic()
            watch.sleep(0.05)
            assert monotonic() - begun >= 0.045
    finally:
        watch.end()


def test_an_ended_watch_cannot_be_stopped(pair):
    """After the turn nothing happens to it any more, and its socket is hung up."""
    ours, theirs = pair
    token = CancelToken()
    watch = running(Timeout(), token)
    watch.claim(ours)
    watch.end()
    watch.end()
    assert theirs.recv(1) == b""
    token.cancel()
    watch.cancel()
    assert watch.stopped is None


@pytest.mark.parametrize("means", ["cancel", "token", "event", "total"])
def test_a_sleep_ends_with_the_watch(means):
    """sleep() is left at once when the watch is stopped, by whatever."""
    token = threading.Event() if means == "event" else CancelToken()
    took = []
    for _ in range(3):
        token = threading.Event() if means == "event" else CancelToken()
        watch = running(Timeout(total=0.05 if means == "total" else None), token)
        stop = {"cancel": watch.cancel, "token": getattr(token, "cancel", None), "event": getattr(token, "set", None)}
        if means in stop:
            threading.Timer(0.05, stop[means]).start()
        begun = monotonic()
        with pytest.raises(errors.DeadlineExceeded if means == "total" else errors.Cancelled):
            watch.sleep(10)
        took.append(monotonic() - begun)
        watch.end()
    assert min(took) <= 0.05 + (0.15 if means == "event" else 0.1)


def test_a_sleep_does_not_trip_first_or_idle():
    """No clock but the total runs while a retry waits."""
    watch = running(Timeout(connect=0.02, first=0.02, idle=0.02), None)
    watch.sending()
    watch.sleep(0.1)
    assert watch.stopped is None
    watch.end()


def test_clocks_name_themselves():
    """connect, first and idle end in their own errors, idle only after the first event."""
    for start, events, kind in [
        ("connecting", 0, errors.ConnectFailed),
        ("sending", 0, errors.FirstTokenTimeout),
        ("sending", 1, errors.IdleTimeout),
    ]:
        watch = running(Timeout(connect=0.02, first=0.02, idle=0.02), None)
        getattr(watch, start)()
        watch.events = events
        sleep(0.05)
        limit = monotonic() + 1
        while watch.stopped is None and monotonic() < limit:
            sleep(0.005)
        with pytest.raises(kind):
            watch.check()
        watch.end()


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), "5", True])
def test_a_timeout_is_seconds_above_zero(wrong):
    """What is no positive number is refused when the Timeout is made."""
    with pytest.raises(ValueError, match=r"Timeout\.idle"):
        Timeout(idle=wrong)


# The watchdog


def watchdogs():
    """List the watchdog threads of this process."""
    return [thread for thread in threading.enumerate() if thread.name == "promptstream-watchdog"]


def test_there_is_one_watchdog_for_all():
    """However many watches there are, one daemon thread looks after them."""
    watches = [running(Timeout(), threading.Event()) for _ in range(20)]
    try:
        assert len(watchdogs()) == 1
        assert watchdogs()[0].daemon
    finally:
        for watch in watches:
            watch.end()
    assert len(watchdogs()) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_watchdog_idles_without_polling(monkeypatch):
    """With nothing to look after it sleeps without a time-out."""
    dog, waits = module.Watchdog(), []
    waiting = threading.Event()

    class Condition(threading.Condition):
        def wait(self, timeout=None):
            waits.append(timeout)
            if timeout is None:
                waiting.set()
                raise SystemExit  # ends the thread, quietly
            return super().wait(min(timeout, 0.01))

    dog._condition = Condition()
    monkeypatch.setattr(module, "_watchdog", dog)
    running(Timeout(), None).end()
    assert waiting.wait(5)
    assert waits[-1] is None
    dog._thread.join(5)


def test_a_running_watch_is_not_looked_at_all_the_time(monkeypatch):
    """A watch without an Event is looked at when something may be due, not in a tight loop."""
    looks = []
    look = Watch.look
    monkeypatch.setattr(Watch, "look", lambda self, now: looks.append(now) or look(self, now))
    watch = running(Timeout(), None)
    watch.sending()
    sleep(0.2)
    watch.end()
    assert len(looks) <= 3


def test_an_event_is_looked_at_every_50_ms(monkeypatch):
    """An Event cannot call back: it is polled, and not faster than told."""
    looks = []
    look = Watch.look
    monkeypatch.setattr(Watch, "look", lambda self, now: looks.append(now) or look(self, now))
    watch = running(Timeout(), threading.Event())
    sleep(0.3)
    watch.end()
    assert 3 <= len(looks) <= 9


def test_a_shorter_clock_wakes_the_watchdog_in_time():
    """A watch that is due before what the watchdog sleeps for is not late."""
    long = running(Timeout(), None)
    short = running(Timeout(total=0.05), None)
    begun = monotonic()
    while short.stopped is None and monotonic() - begun < 2:
        sleep(0.005)
    took = monotonic() - begun
    short.end()
    long.end()
    assert took <= 0.05 + 0.25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_watchdog_works_after_a_fork(pair):
    """A child gets a watchdog of its own, also if the parent's was running, and looks after none of the parent's."""
    ours, theirs = pair
    parent = running(Timeout(total=60), None)
    parent.claim(ours)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watch = running(Timeout(total=0.05), None)
            end = monotonic() + 3
            while watch.stopped is None and monotonic() < end:
                sleep(0.005)
            parent.end()
            code = 0 if watch.stopped == "total" and len(watchdogs()) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
    parent.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("means", ["cancel", "token", "close"])
def test_a_child_that_cancels_leaves_its_parents_connection_alone(pair, means):
    """The connection belongs to the parent: what a forked child cancels or ends is its own copy."""
    ours, theirs = pair
    token = CancelToken()
    parent = running(Timeout(), token)
    parent.claim(ours)
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            {"cancel": parent.cancel, "token": token.cancel, "close": parent.end}[means]()
        os._exit(0)
    os.waitpid(child, 0)
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
    parent.end()


def test_the_interpreter_ends_although_a_stream_is_held():
    """A program that leaves with a stream running ends at once, silently."""
    program = """
        import socket, threading, promptstream
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            sock, _ = listener.accept()
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\n\\r\\n"
                         b'data: {"choices": [{"index": 0, "delta": {"content": "Once"}}]}\\n\\n')
            sock.recv(65536)

        threading.Thread(target=serve, daemon=True).start()
        asked = promptstream.providers.Compatible(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        held = iter(asked.stream("Hi"))
        print(next(held))
    """
    begun = monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Once\n", "")
    assert monotonic() - begun <= 10


def test_an_interpreter_ends_although_its_watchdog_was_looking():
    """It is frozen where it stands, and whatever is finalised after that must not wait for it."""
    code = textwrap.dedent(
        """
        import threading, time
        from promptstream.providers import Scripted
        from promptstream.wire.watchdog import Watchdog
        looking = threading.Event()
        # Apart from this module, which a function of its own would keep from being finalised.
        exec(
            "def look(self):\\n    looking.set()\\n    time.sleep(0.05)\\n    return make_round(self)",
            names := {"looking": looking, "time": time, "make_round": Watchdog._make_round},
        )
        Watchdog._make_round = names["look"]
        first = iter(Scripted([["Once", " upon"]]).stream("Hi", timeout=60))
        next(first)
        looking.wait()
        """
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_watches_that_wait_alike_are_looked_at_together():
    """Thousands of streams cost the watchdog a few rounds a second, and none of them is looked at late."""
    first, second = Watch(Timeout()), Watch(Timeout())
    assert first.look(100.01) == second.look(100.2) == 102.0
    assert Watch(Timeout(), threading.Event()).look(100.01) <= 100.01 + module.EVENT_POLL
