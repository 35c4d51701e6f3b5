"""The Redis store: its keys, its errors, what is forgotten, and a save that is sent twice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from stores import redis_store, redis_url, user

from promptstream.errors import ConfigError, ConversationBusy, StateError, StoreCorrupt
from promptstream.state import RedisStore
from promptstream.values.message import Message

redis = pytest.importorskip("redis", reason="the package redis is not installed (extra redis)")


@pytest.fixture
def client() -> Iterator[Any]:
    """A client of the test's own."""
    with redis.Redis.from_url(redis_url()) as made:
        yield made


@pytest.fixture
def store() -> Iterator[RedisStore]:
    """A store on the test's Redis, with a conversation of three messages."""
    with redis_store() as made:
        made.save("id", revision=0, kept=0, added=user("0", "1", "2"), state={"n": 1, "metadata": {"m": 1}})
        yield made


def key(store: RedisStore, part: str) -> bytes:
    """Give a key of the conversation "id"."""
    return f"{store._prefix}:{{id}}:{part}".encode()


# Keys


def test_the_keys_are_these_and_none_of_them_ends(store, client):
    """A hash, a list, and one sorted set for all; nothing is forgotten by itself unless it is asked for."""
    keys = sorted(client.keys(f"{store._prefix}:*"))
    assert keys == sorted([key(store, "head"), key(store, "messages"), f"{store._prefix}:conversations".encode()])
    assert [client.type(each) for each in keys] == [b"zset", b"hash", b"list"]
    assert [client.ttl(each) for each in keys] == [-1, -1, -1]
    assert client.llen(key(store, "messages")) == 3


@pytest.mark.parametrize("id", ["a", "}", "{", "{}", "}x{", "a}b", "%7D", "🦜"])
def test_a_conversation_lies_in_one_place_of_a_cluster(id):
    """Whatever its id holds, its keys have one slot."""
    from redis.crc import key_slot

    keys = redis_store("p")._keys(id)
    assert len({key_slot(each) for each in keys}) == 1
    assert len({each.partition(b"}")[0] for each in keys}) == 1


def test_a_save_sends_no_history(store, client):
    """Appending moves the new messages alone: the list is pushed to, not written anew."""
    client.config_resetstat()
    store.save("id", revision=1, kept=3, added=user("3"), state={})
    counted = client.info("commandstats")
    assert counted["cmdstat_rpush"]["calls"] == 1
    assert {"cmdstat_lrange", "cmdstat_ltrim"}.isdisjoint(counted)


def test_two_prefixes_are_two_stores(store):
    """Neither lists nor finds the other's."""
    with redis_store() as other:
        assert (other.list(), other.load("id"), other.delete("id")) == ([], None, False)
    assert store.revision("id") == 1


def test_a_long_listing_comes_whole(store):
    """More than one page of the index."""
    for number in range(450):
        store.save(f"c{number}", revision=0, kept=0, added=[], state={})
    assert [entry.id for entry in store.list()] == [*(f"c{number}" for number in reversed(range(450))), "id"]
    assert len(store.list(limit=201)) == 201


# Being forgotten


def test_what_has_a_time_to_live_is_forgotten_whole(client):
    """Each save begins it anew; then the conversation and its line of the listing are gone."""
    with redis_store(ttl=0.1) as store:
        store.save("id", revision=0, kept=0, added=user("a"), state={})
        assert all(0 < client.pttl(key(store, part)) <= 100 for part in ("head", "messages"))
        while store.load("id") is not None:
            time.sleep(0.02)
        assert (store.revision("id"), store.list()) == (0, [])
        assert client.zcard(store._index) == 1  # a save may be on its way
        client.zadd(store._index, {b"id": time.time() - 4000})
        assert store.list() == []
        assert client.zcard(store._index) == 0


def test_a_store_without_a_time_to_live_lifts_another_s(client):
    """Who saves last says how long it is kept."""
    with redis_store("lifted", ttl=1000) as brief, redis_store("lifted") as store:
        brief.save("id", revision=0, kept=0, added=user("a"), state={})
        store.save("id", revision=1, kept=1, added=[], state={})
        assert [client.ttl(key(store, part)) for part in ("head", "messages")] == [-1, -1]
        store.delete("id")


@pytest.mark.parametrize(
    "options", [{"ttl": 0}, {"ttl": -1}, {"ttl": "1"}, {"ttl": True}, {"prefix": ""}, {"prefix": "{a}"}]
)
def test_an_option_that_means_nothing_is_refused(options):
    """At once, with what to give."""
    with pytest.raises(ValueError, match="give"):
        RedisStore("redis://localhost", **options)


# Clients and addresses


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3}])
def test_a_client_of_ones_own_is_used_as_it_is_and_stays_open(options):
    """Whether it decodes what comes or not."""
    with redis.Redis.from_url(redis_url(), **options) as client:
        with RedisStore(client, prefix=f"own-{len(str(options))}") as store:
            store.save("é", revision=0, kept=0, added=user("\ud800é"), state={"metadata": {"a": 1}})
            assert store.load("é").messages == (Message("user", "\ud800é"),)
            assert (store.revision("é"), store.list()[0].metadata) == (1, {"a": 1})
            assert store.delete("é")
        assert client.ping()


def test_no_password_is_shown():
    """Not by repr, nor by any error, nor by what caused it."""
    store = RedisStore("redis://someone:hunter2@127.0.0.1:1/3")
    assert repr(store) == "<RedisStore: Redis at 127.0.0.1:1>"
    with pytest.raises(StateError) as caught:
        store.load("id")
    assert "Redis at 127.0.0.1:1 cannot be reached" in str(caught.value)
    assert "hunter2" not in f"{caught.value!r}{caught.value}{caught.value.__cause__!r}"
    for address in ("redis://:hunter2@h:x", "redis://:hunt/er2@h", "http://:hunter2@h", "redis://h?hunter2=1"):
        with pytest.raises(ConfigError) as refused:
            RedisStore(address)
        assert "hunter2" not in str(refused.value)
        assert refused.value.__cause__ is None
    assert repr(RedisStore("unix:///tmp/none.sock")) == "<RedisStore: Redis at /tmp/none.sock>"
    assert repr(RedisStore("redis://[::1]")) == "<RedisStore: Redis at [::1]:6379>"


def test_a_wrong_password_is_told():
    """As what it is."""
    with RedisStore(redis_url().replace("redis://", "redis://nobody:wrong@")) as store:
        with pytest.raises(StateError, match="refused the user or password") as caught:
            store.revision("id")
        assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    """The extra by its name."""
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(ConfigError, match=r"promptstream-sdk\[redis\]"):
        RedisStore("redis://localhost")
    with pytest.raises(ConfigError, match=r"promptstream-sdk\[redis\]"):
        RedisStore(object())  # type: ignore[arg-type]


def test_what_is_neither_client_nor_address_is_refused():
    """With what to give."""
    with pytest.raises(ConfigError, match="redis://host:port"):
        RedisStore(7)  # type: ignore[arg-type]


# Damage


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("RPUSH", "messages", "{}"), "there are 4 messages where 3 are expected"),
        (("LSET", "messages", "1", '{"role":'), "message 1:"),
        (("LSET", "messages", "2", b"\xff"), ""),
        (("DEL", "head"), "its head"),
        (("DEL", "messages"), "there are 0 messages where 3 are expected"),
        (("HDEL", "head", "revision"), "its head"),
        (("HSET", "head", "created", "x"), "its head"),
        (("HSET", "head", "state", "[]"), "its state"),
        (("HSET", "head", "format", "2"), "it is of format 2, and this promptstream reads format 1"),
        (("SET", "messages", "theirs"), "another program uses its keys"),
        (("SET", "head", "theirs"), "another program uses its keys"),
    ],
)
@pytest.mark.parametrize("decode", [False, True])
def test_what_no_save_left_there_is_corrupt_and_left_alone(store, client, command, said, decode):
    """It is not half read and not written over; it can be deleted."""
    verb, part, *rest = command
    client.execute_command(verb, key(store, part), *rest)
    dumped = [client.dump(key(store, part)) for part in ("head", "messages")]
    with redis.Redis.from_url(redis_url(), decode_responses=decode) as other:
        looking = RedisStore(other, prefix=store._prefix)
        with pytest.raises(StoreCorrupt) as caught:
            looking.load("id")
        assert "The conversation 'id' in Redis at 127.0.0.1:" in str(caught.value)
        assert said in str(caught.value)
        if verb in ("RPUSH", "DEL", "SET", "HDEL") or "format" in command:
            with pytest.raises(StoreCorrupt):
                looking.save("id", revision=1, kept=3, added=user("x"), state={})
        assert [client.dump(key(store, part)) for part in ("head", "messages")] == dumped
        assert looking.delete("id")
        assert (looking.load("id"), looking.list()) == (None, [])


def test_a_garbled_line_of_a_listing_names_its_conversation(store, client):
    """One that cannot be read is not passed over in silence."""
    client.hset(key(store, "head"), "metadata", "{")
    with pytest.raises(StoreCorrupt, match="'id'"):
        store.list()
    client.hset(key(store, "head"), "updated", "x")
    with pytest.raises(StoreCorrupt, match="'id'"):
        store.list()


# The server


class Between:
    """Stand between client and server, and cut the line once the server did what it was asked."""

    def __init__(self, cut: int) -> None:
        self.cut = cut
        """So many answers to scripts are swallowed."""
        self.swallowed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        port = int(redis_url().rsplit(":", 1)[1].partition("/")[0])
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            near.settimeout(20)
            far.settimeout(20)
            try:
                while asked := near.recv(1 << 20):
                    far.sendall(asked)
                    answer = far.recv(1 << 20)
                    if b"EVAL" in asked and b"HSET" in asked and self.cut > 0:
                        self.cut -= 1
                        self.swallowed += 1
                        return
                    near.sendall(answer)
            except OSError:
                return

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()


@pytest.fixture
def between() -> Iterator[Between]:
    """A connection that loses one answer."""
    made = Between(1)
    yield made
    made.close()


def test_a_save_whose_answer_was_lost_is_made_once(between, store):
    """The client sends it again; the mark tells the server that it was done, so it is neither doubled nor refused."""
    with RedisStore(f"redis://127.0.0.1:{between.port}/0", prefix=store._prefix) as shaky:
        assert shaky.save("id", revision=1, kept=3, added=user("3"), state={"n": 2}) == 2
    kept = store.load("id")
    assert between.swallowed == 1
    assert (kept.revision, [message.text for message in kept.messages], kept.state) == (
        2,
        ["0", "1", "2", "3"],
        {"n": 2},
    )


def test_a_save_nobody_knows_of_says_so_and_is_never_half_there(between, store):
    """Where no answer comes at all, the error does not claim that nothing changed; the next save finds out."""
    between.cut = 100
    with RedisStore(f"redis://127.0.0.1:{between.port}/0", prefix=store._prefix) as shaky:
        with pytest.raises(StateError, match="not known") as caught:
            shaky.save("id", revision=1, kept=3, added=user("3"), state={})
        assert "Nothing was changed" not in str(caught.value)
        between.cut = 0
        with pytest.raises(ConversationBusy, match="revision 2 is stored"):
            shaky.save("id", revision=1, kept=3, added=user("3"), state={})
        assert len(shaky.load("id").messages) == 4


def test_a_server_that_is_gone_is_a_state_error_with_its_place():
    """Every verb names host and port, and changes nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = RedisStore(f"redis://127.0.0.1:{port}")
    for use in (lambda: store.load("id"), lambda: store.revision("id"), store.list, lambda: store.delete("id")):
        with pytest.raises(StateError, match=f"127.0.0.1:{port} cannot be reached"):
            use()
    with pytest.raises(StateError, match=f"127.0.0.1:{port} cannot be reached.*Nothing was changed"):
        store.save("id", revision=0, kept=0, added=[], state={})


def test_a_server_without_memory_refuses_and_nothing_is_torn(store, client):
    """Not even where the save would first take something away."""
    before = store.load("id")
    try:
        client.config_set("maxmemory", "1")
        with pytest.raises(StateError, match="refused: ") as caught:
            store.save("id", revision=1, kept=0, added=user("x"), state={})
        assert "memory" in str(caught.value)
        assert store.load("id") == before
    finally:
        client.config_set("maxmemory", "0")
    assert store.save("id", revision=1, kept=0, added=user("x"), state={}) == 2


def test_an_address_may_say_how_long_to_wait():
    """A server that never answers is given up after the time of the address."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = RedisStore(f"redis://127.0.0.1:{port}?socket_timeout=0.02&socket_connect_timeout=0.02")
        with pytest.raises(StateError, match="cannot be reached"):
            store.load("id")


def test_a_second_thread_shares_the_store(store):
    """Connections are the client's own business."""
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(store.revision("id"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1, 1, 1, 1]
