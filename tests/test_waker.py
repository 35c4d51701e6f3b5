"""A wait that anyone may end: another thread, a signal handler, a finaliser in the middle of it."""

from __future__ import annotations

import gc
import signal
import threading
from time import monotonic

import pytest

from promptstream.wire.waker import Waker
from promptstream.wire.watchdog import FOREVER, Watchdog


def test_it_stays_set():
    """Who comes later does not wait, nor does who comes again."""
    waker = Waker()
    assert not waker.is_set()
    assert not waker.wait(0)
    waker.set()
    waker.set()
    assert waker.is_set()
    assert waker.wait()
    assert waker.wait(0)
    assert waker.is_set()


def test_another_thread_wakes_many():
    """Everybody who waits is woken by one set."""
    waker, woken = Waker(), []
    threads = [threading.Thread(target=lambda: woken.append(waker.wait(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    waker.set()
    for thread in threads:
        thread.join(10)
    assert woken == [True] * 8


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers")
def test_a_signal_handler_wakes_its_own_thread():
    """The handler runs in the middle of the wait that it ends."""
    waker = Waker()
    previous = signal.signal(signal.SIGALRM, lambda *_: waker.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        begun = monotonic()
        assert waker.wait(5)
        assert monotonic() - begun < 4
    finally:
        signal.signal(signal.SIGALRM, previous)


class Cyclic:
    """Part of a cycle whose finaliser takes a watch from the watchdog, in whatever thread the collector runs."""

    def __init__(self, dog, watch):
        self.itself, self.dog, self.watch = self, dog, watch

    def __del__(self):
        self.dog.discard(self.watch)


class Collecting:
    """A watch that has the collector run while it is looked at."""

    looked = 0

    def look(self, now):
        self.looked += 1
        gc.collect()
        return 0.0 if self.looked < 3 else FOREVER

    def forked(self):
        """Nothing to let go."""


def test_a_finaliser_in_the_watchdogs_thread_does_not_end_it():
    """Watches may go while it makes its round; it looks at the others, and at none that is gone."""
    dog, first, second = Watchdog(), Collecting(), Collecting()
    dog._watches = {first: 0.0, second: 0.0}
    Cyclic(dog, first)
    Cyclic(dog, second)
    assert dog._make_round() == FOREVER
    assert dog._watches == {}
    assert first.looked + second.looked <= 2


def test_a_forked_child_begins_anew():
    """What was looked after lets go of its locks, and nobody looks after it any more."""

    class Forked(Collecting):
        let_go = False

        def forked(self):
            self.let_go = True

    dog, watch = Watchdog(), Forked()
    dog._watches = {watch: 0.0}
    dog.forked()
    assert watch.let_go
    assert dog._watches == {}
