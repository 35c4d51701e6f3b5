"""A name is looked up in a thread of its own: clocks and cancels hold although the resolver cannot be stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest
from dialects import DIALECTS, TEXT
from server import PATIENCE, each, good, say

import promptstream
from promptstream import CancelToken, Retry, Timeout, errors
from promptstream.wire import dial as module
from promptstream.wire.causes import causes_of
from promptstream.wire.dial import look_up
from promptstream.wire.watch import Watch

ROOT = Path(promptstream.__file__).parents[1]
HOST = "slow.invalid"
CHAT = DIALECTS["chat"]


class Resolver:
    """Stand in for the system's resolver: it holds every name until it is let go, and counts."""

    def __init__(self, port: int = 9) -> None:
        self.port = port
        self.asked: list[str] = []
        self.threads: list[threading.Thread] = []
        self.go = threading.Event()
        self.fault: BaseException | None = None

    def __call__(self, host, port, *args, **options):
        self.asked.append(host)
        self.threads.append(threading.current_thread())
        assert self.go.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]

    def end(self) -> None:
        """Let all go, and wait for their threads."""
        self.go.set()
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE)


@pytest.fixture
def resolver(monkeypatch):
    """A resolver in place of the system's; nothing of it is left afterwards."""
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.end()
    assert module._running.get() == {}


def provider(**options):
    """Make a provider whose host must be looked up."""
    options.setdefault("retry", Retry(0))
    return promptstream.providers.Compatible(f"http://{HOST}:1234/v1", **options)


def fastest(measure, limit, tries=3):
    """Give the least of up to three measurements that is within *limit*, or the least of all."""
    took = []
    while len(took) < tries and not (took and min(took) <= limit):
        took.append(measure())
    return min(took)


# Clocks and cancels


def test_the_connect_clock_bounds_a_look_up(resolver):
    """ConnectFailed in phase dns, naming the host and the limit, retryable, at most 0.25 s late."""

    def measure():
        begun = monotonic()
        with pytest.raises(errors.ConnectFailed, match=rf"{HOST}.*0\.1 s \(Timeout\.connect\)") as caught:
            provider(timeout=Timeout(connect=0.1)).send("Hi")
        assert (caught.value.phase, caught.value.retryable, caught.value.attempts) == ("dns", True, 1)
        return monotonic() - begun

    assert 0.1 <= fastest(measure, 0.35) <= 0.35


def test_a_look_up_that_ran_out_of_time_is_tried_again(resolver):
    """Each attempt has the connect clock to itself; all of them wait for one look-up."""
    with pytest.raises(errors.ConnectFailed) as caught:
        provider(timeout=Timeout(connect=0.05), retry=Retry(3, base=0.001)).send("Hi")
    assert caught.value.attempts == 3
    assert resolver.asked == [HOST]


def test_an_attempt_after_the_resolver_came_to_succeeds(resolver, server):
    """The second attempt joins the look-up that the first began, and is answered."""
    one = server(each(good))
    resolver.port = one.port
    retry = Retry(2, base=0.001, on_retry=lambda error, delay: resolver.go.set())
    assert provider(timeout=Timeout(connect=0.05, first=5), retry=retry).send("Hi").complete
    assert len(one.requests) == 1


def test_the_total_bounds_a_look_up(resolver):
    """DeadlineExceeded in phase dns, at most 0.25 s late."""

    def measure():
        begun = monotonic()
        with pytest.raises(errors.DeadlineExceeded) as caught:
            provider().send("Hi", timeout=0.1)
        assert caught.value.phase == "dns"
        return monotonic() - begun

    assert 0.1 <= fastest(measure, 0.35) <= 0.35


@pytest.mark.parametrize("means", ["token", "event", "stream"])
def test_a_cancel_ends_a_look_up(resolver, means):
    """Within 100 ms, from any thread."""

    def measure():
        cancel = {"token": CancelToken(), "event": threading.Event()}.get(means)
        stream, ended = provider().stream("Hi", cancel=cancel), []

        def read():
            try:
                list(stream)
            except errors.Cancelled as error:
                ended.append((monotonic(), error.phase))

        thread = threading.Thread(target=read)
        thread.start()
        while stream._turn.watch.phase != "dns":
            sleep(0.001)
        begun = monotonic()
        {"token": CancelToken.cancel, "event": threading.Event.set}.get(means, lambda _: stream.cancel())(cancel)
        thread.join(PATIENCE)
        ((at, phase),) = ended
        assert phase == "dns"
        return at - begun

    assert fastest(measure, 0.1) <= 0.1


def test_ctrl_c_ends_a_look_up(resolver):
    """The main thread wakes for a signal."""
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    begun = monotonic()
    with pytest.raises(KeyboardInterrupt):
        timer.start()  # only here: on a busy machine it may strike before the next line
        try:
            provider().send("Hi")
        finally:
            timer.cancel()
    assert monotonic() - begun <= 0.5


def test_a_look_up_takes_its_time_from_the_connect_clock(monkeypatch):
    """One limit for the look-up and all addresses: what it took is not given again."""
    import server as loopback

    with loopback.BlackHole() as hole:

        def slow(*args, **options):
            sleep(0.05)
            sleep(0.05)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", hole.port))] * 2

        monkeypatch.setattr(socket, "getaddrinfo", slow)

        def measure():
            begun = monotonic()
            with pytest.raises(errors.ConnectFailed, match=HOST) as caught:
                provider(timeout=Timeout(connect=0.2)).send("Hi")
            assert caught.value.phase == "connect"
            return monotonic() - begun

        assert fastest(measure, 0.45) <= 0.45


# Threads


def test_a_look_up_runs_in_a_daemon_thread_that_ends_with_it(resolver, server):
    """One short-lived thread, named, and none is left afterwards."""
    one = server(each(good))
    resolver.port = one.port
    resolver.go.set()
    with provider() as asked:
        assert asked.send("Hi").text == TEXT
        assert asked.send("Hi").text == TEXT  # on the same connection: nothing is looked up
    assert len(resolver.threads) == 1
    (thread,) = resolver.threads
    assert (thread.name, thread.daemon) == ("promptstream-dns", True)
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "::1", "fe80::1%1"])
def test_an_address_needs_no_thread(monkeypatch, host):
    """It is read in the caller's own."""
    threads = []

    def read(*args, **options):
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(socket, "getaddrinfo", read)
    assert look_up(host.strip("[]"), 80, Watch(Timeout())) == []
    assert threads == [threading.current_thread()]


def test_many_who_ask_for_one_name_share_a_look_up(resolver, server):
    """Twenty threads, one look-up, and each gets its own connection from it."""
    one = server(each(good))
    resolver.port = one.port
    texts = []
    with provider() as asked:
        threads = [threading.Thread(target=lambda: texts.append(asked.send("Hi").text)) for _ in range(20)]
        for thread in threads:
            thread.start()
        while not resolver.asked or len(next(iter(module._running.get().values()))._wakes) < 20:
            sleep(0.001)
        resolver.go.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert texts == [TEXT] * 20
    assert resolver.asked == [HOST]


def test_abandoned_look_ups_do_not_pile_up(resolver):
    """However many give up, one thread to a name lingers; and it ends with the resolver."""
    for _ in range(10):
        with pytest.raises(errors.ConnectFailed):
            provider(timeout=Timeout(connect=0.01)).send("Hi")
    assert len(resolver.threads) == 1
    assert resolver.threads[0].is_alive()
    resolver.end()
    assert not resolver.threads[0].is_alive()


def test_the_next_look_up_is_a_fresh_one(resolver):
    """Nothing is cached: a name that was found, or not, is looked up again."""
    resolver.go.set()
    for _ in range(3):
        assert look_up(HOST, 80, Watch(Timeout()))
    resolver.fault = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(socket.gaierror):
        look_up(HOST, 80, Watch(Timeout()))
    resolver.fault = None
    assert look_up(HOST, 80, Watch(Timeout()))
    assert len(resolver.asked) == 5


@pytest.mark.parametrize(
    "fault",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        UnicodeError("label empty or too long"),
        UnicodeEncodeError("idna", "x" * 64, 0, 64, "label too long"),
        OSError(24, "Too many open files"),
    ],
    ids=repr,
)
def test_why_a_name_was_not_found_reaches_all_who_wait(resolver, fault):
    """Each has an exception of its own, as ConnectFailed in phase dns naming the host."""
    resolver.fault = fault
    raised = []

    def ask():
        try:
            provider().send("Hi")
        except errors.ConnectFailed as error:
            raised.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not resolver.asked or len(next(iter(module._running.get().values()))._wakes) < 3:
        sleep(0.001)
    resolver.go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert [(error.phase, error.retryable) for error in raised] == [("dns", True)] * 3
    assert all(HOST in str(error) for error in raised)
    assert len({id(each) for error in raised for each in causes_of(error) if type(each) is type(fault)}) == 3
    assert len(resolver.asked) == 1


def test_who_joins_a_look_up_just_as_it_ends_is_woken(resolver):
    """Whether it stood in the list in time or not."""
    resolver.go.set()
    ended, wake = module._LookUp(HOST, 80), threading.Event()
    ended._run({})
    ended.tell(wake)
    assert wake.is_set()


def test_a_look_up_without_a_thread_to_be_had_is_made_in_this_one(monkeypatch, resolver):
    """A system that is out of threads, or an interpreter that ends, still finds the host."""

    def none(self):
        raise RuntimeError("can't start new thread")

    resolver.go.set()
    monkeypatch.setattr(threading.Thread, "start", none)
    assert look_up(HOST, 80, Watch(Timeout()))
    assert resolver.threads == [threading.current_thread()]


def test_an_interrupt_while_a_look_up_begins_poisons_nothing(monkeypatch, resolver):
    """The next one begins anew, and does not wait for a thread that never was."""

    def interrupted(self, running):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module._LookUp, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            look_up(HOST, 80, Watch(Timeout()))
    resolver.go.set()
    assert look_up(HOST, 80, Watch(Timeout()))


# Processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_looks_up_anew(resolver):
    """The parent's look-up has no thread in the child, and nobody there waits for it."""
    with pytest.raises(errors.ConnectFailed):
        provider(timeout=Timeout(connect=0.01)).send("Hi")
    child = os.fork()
    if child == 0:
        threading.Timer(5, os._exit, (9,)).start()
        resolver.go = threading.Event()
        resolver.go.set()
        os._exit(0 if look_up(HOST, 1234, Watch(Timeout())) and len(resolver.asked) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_interpreter_exits_although_a_look_up_lingers():
    """At once, with nothing printed."""
    code = textwrap.dedent(
        """
        import socket, time
        import promptstream
        from promptstream import Retry, Timeout, errors
        socket.getaddrinfo = lambda *args, **options: time.sleep(60)
        asked = promptstream.providers.Compatible(
            "http://slow.invalid/v1", timeout=Timeout(connect=0.05), retry=Retry(0)
        )
        try:
            asked.send("Hi")
        except errors.ConnectFailed as error:
            assert error.phase == "dns", error.phase
        """
    )
    begun = monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert monotonic() - begun <= 10


def test_a_name_of_this_machine_is_found(server):
    """The real resolver: localhost, which is no address."""
    one = server(each(say(CHAT.good())))
    with CHAT.provider(f"http://localhost:{one.port}") as asked:
        assert CHAT.send(asked).text == TEXT
    assert all(thread.name != "promptstream-dns" for thread in threading.enumerate())


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=str)
def test_a_look_up_is_bounded_in_every_dialect(resolver, dialect):
    """Unary calls and completions go the same way."""
    timeout = Timeout(connect=0.02)
    with dialect.provider(f"http://{HOST}:80", timeout=timeout, retry=Retry(0), allow_plaintext=True) as asked:
        with pytest.raises(errors.ConnectFailed, match=HOST) as caught:
            dialect.send(asked)
        assert caught.value.phase == "dns"
        if not dialect.completes:
            with pytest.raises(errors.ConnectFailed, match=HOST) as caught:
                asked.models()
            assert caught.value.phase == "dns"
