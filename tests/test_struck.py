"""What strikes at an unlucky moment: a late clock, a fork, a cancel in an error's body, Ctrl-C in a pool."""

from __future__ import annotations

import json
import os
import queue
import threading
from time import monotonic

import pytest
from dialects import DIALECTS
from server import Server, each, full, good, head, say
from wires.base import KEY

import promptstream
from promptstream import Timeout, errors
from promptstream.wire.adapter import _Idle
from promptstream.wire.process import undivided
from promptstream.wire.transport import Transport
from promptstream.wire.watch import Watch

each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)


def test_a_connect_clock_does_not_run_on_into_the_sleep_before_another_attempt():
    """The socket's time-out may come a moment before the clock's own, which must then stop nothing."""
    watch = Watch(Timeout(connect=0.05))
    watch.start()
    watch.connecting()
    assert watch.resume()
    watch.look(monotonic() + 1)
    watch.sleep(0.001)
    assert watch.stopped is None
    watch.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_waits_for_what_another_thread_must_not_leave_half_done():
    """A child would else find the modules of the first request locked for ever."""
    held, done = threading.Event(), []

    def load():
        with undivided:
            held.set()
            threading.Event().wait(0.03)
            done.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if done and undivided.acquire(timeout=1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()


@each_dialect
@pytest.mark.parametrize("means", ["token", "event"])
def test_a_cancel_while_an_errors_body_is_read_is_a_cancel(server, dialect, means):
    """Neither the status' error nor another attempt comes of it, and the turn counts as stopped."""
    cancel = promptstream.CancelToken() if means == "token" else threading.Event()

    def script(conn):
        conn.request()
        conn.send(head("500 Oops", "application/json", Content_Length="1000") + b"{")
        cancel.cancel() if means == "token" else cancel.set()
        conn.wait_for_hang_up()

    with dialect.provider(server(script).origin) as provider, pytest.raises(errors.Cancelled):
        dialect.stream(provider, cancel=cancel).result()


@each_dialect
def test_an_error_inside_the_200_of_a_list_is_the_providers(server, dialect):
    """A list of models is refused by the class that the error's own words stand for, and shows no key."""
    body = {"error": {"message": f"Rate limit reached for {KEY}.", "code": "rate_limit_exceeded"}}
    one = server(each(say(full("200 OK", json.dumps(body)))))
    with dialect.provider(one.origin) as provider, pytest.raises(errors.RateLimited, match="Rate limit") as caught:
        provider.models()
    assert KEY not in str(caught.value)


def test_idle_connections_are_kept_without_a_lock():
    """As queue.LifoQueue keeps them, but no Ctrl-C can strike in the middle of a step."""
    idle = _Idle(2)
    idle.put("one")
    idle.put("two")
    with pytest.raises(queue.Full):
        idle.put("three")
    assert (idle.qsize(), idle.get(), idle.get()) == (2, "two", "one")
    with pytest.raises(queue.Empty):
        idle.get(block=False)


def test_every_pool_keeps_its_idle_connections_so():
    """Plain and TLS alike."""
    with Server(each(good)) as server:
        transport = Transport()
        adapter = transport._get_session().get_adapter(server.origin)
        for url in (server.origin, "https://127.0.0.1:9"):
            assert isinstance(adapter.poolmanager.connection_from_url(url).pool, _Idle)
        transport.close()
