"""Conversations in, keys of a Redis server out, and back: for the processes of many machines."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from promptstream.errors import ConfigError, StateError
from promptstream.state import record
from promptstream.state.redis_scripts import DELETE, FORMAT, LOAD, SAVE, SWAP, TIDY
from promptstream.state.store import Entry, Kept
from promptstream.values.message import Message
from promptstream.values.secret import plain

if TYPE_CHECKING:
    import redis

_SECONDS = 10.0
"""How long to wait for the server where the address does not say."""
_PAGE = 200
_LINGER = 3600.0
"""Seconds that the index keeps the name of what is not there: a save may be on its way."""
_LISTED = ("format", "revision", "messages", "created", "updated", "metadata")


class RedisStore:
    """Keep conversations in Redis (extra ``redis``), for the threads and processes of any number of machines.

    May be used from any thread, and after a fork. What survives a crash of the server is the server's to say:
    ``appendfsync always`` keeps whatever was confirmed.

    Args:
        where: "redis://user:password@host:port/db", "rediss://…" (TLS), "unix://…", or a ``redis.Redis`` or
            ``redis.RedisCluster`` of your own, which stays yours to close. Calls wait up to 10 s unless it says other.
        ttl: seconds after the last save until a conversation is forgotten; None: never.
        prefix: what every key begins with.

    Raises:
        ConfigError: *where* is no address or client, or the package ``redis`` is missing. Nothing is sent yet.
        ValueError: *ttl* is not above 0, or *prefix* holds a brace.
    """

    def __init__(self, where: str | redis.Redis, *, ttl: float | None = None, prefix: str = "promptstream") -> None:
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0.001 <= ttl < 1e12):
            raise ValueError(f"ttl={ttl!r:.60}: give seconds above 0, or None.")
        if not isinstance(prefix, str) or not prefix.isprintable() or not prefix or set("{}") & set(prefix):
            raise ValueError(f"prefix={prefix!r:.60}: give a short text without braces.")
        self._ours = isinstance(where, str)
        self._client = _client(where)
        self._where = f"Redis at {_address(self._client)}"
        self._ttl = 0 if ttl is None else int(ttl * 1000)
        self._prefix = prefix
        self._index = f"{prefix}:conversations".encode()
        self._closed = False

    def __repr__(self) -> str:
        return f"<RedisStore: {self._where}>"

    def __enter__(self) -> RedisStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, id: str) -> Kept | None:
        """Give what is kept under *id*, or None; see :meth:`promptstream.state.Store.load`."""
        keys = self._keys(id)
        with self._talking(id):
            found: Any = self._client.eval(LOAD, len(keys), *keys)
        if found is None:
            return None
        try:
            head = self._numbers(id, *found[:5])
        except (TypeError, ValueError) as error:
            raise record.corrupt(id, self._where, f"its head: {error!s:.200}") from None
        revision, count, created, updated = head
        state, texts = found[5:]
        if len(texts) != count:
            raise record.corrupt(id, self._where, f"there are {len(texts)} messages where {count} are expected")
        messages = record.read_messages(id, self._where, texts)
        return Kept(id, revision, messages, record.read_state(id, self._where, state), created, updated)

    def revision(self, id: str) -> int:
        """Give the revision that is kept under *id*, 0 where there is none."""
        keys = self._keys(id)
        with self._talking(id):
            found: Any = self._client.hget(keys[0], "revision")
        try:
            return 0 if found is None else int(record.as_text(found))
        except ValueError as error:
            raise record.corrupt(id, self._where, f"its revision: {error!s:.200}") from None

    def save(self, id: str, *, revision: int, kept: int, added: Sequence[Message], state: Mapping[str, Any]) -> int:
        """Write if the stored revision is still *revision*; see :meth:`promptstream.state.Store.save`.

        Where the connection dies before the server's word, and cannot be had again, nobody knows whether it was
        written: the StateError says so, and the next save then raises ConversationBusy if it was.
        """
        record.check_save(id, revision, kept)
        texts = record.message_texts(id, added)
        whole, metadata = record.state_texts(id, state)
        keys, now = self._keys(id), time.time()
        # The listing lies in another slot of a cluster, so it is written apart, and first: a conversation that is
        # listed and not there is passed over, one that is there and not listed would be lost.
        with self._talking(id):
            self._client.zadd(self._index, {_member(id): now})
        # A mark of this very save, by which one that is sent again knows that it was done the first time.
        head = (FORMAT, revision, kept, repr(now), self._ttl, secrets.token_hex(8), whole, metadata)
        with self._talking(id, "Whether the save was made is not known; load the conversation again."):
            answer: Any = self._client.eval(SAVE, len(keys), *keys, *head, *texts)
        word, number = record.as_text(answer[0]), int(answer[1])
        if word == "busy":
            raise record.busy(id, revision, number)
        if word == "kept":
            raise record.beyond(id, kept, number)
        if word != "saved":
            raise record.corrupt(id, self._where, f"its keys hold what no save left there ({word:.60}, {number})")
        return number

    def list(self, *, limit: int = 1000) -> list[Entry]:
        """Give up to *limit* conversations, the one saved last first."""
        record.check_limit(limit)
        self._open()
        found: dict[str, Entry] = {}
        start, stale = 0, time.time() - _LINGER
        while len(found) < limit:
            with self._talking():
                members: Any = self._client.zrange(self._index, start, start + _PAGE - 1, desc=True)
                names = [record.as_text(member) for member in members]
                heads = self._heads(names)
            if not names:
                break
            found.update((name, self._entry(name, head)) for name, head in zip(names, heads, strict=True) if any(head))
            ghosts = [_member(name) for name, head in zip(names, heads, strict=True) if not any(head)]
            if ghosts:
                with self._talking():
                    self._client.eval(TIDY, 1, self._index, stale, *ghosts)
            start += len(names)
        # By what was saved: of two saves that raced, both went into the index.
        return sorted(found.values(), key=lambda entry: -entry.updated)[:limit]

    def delete(self, id: str) -> bool:
        """Remove what is kept under *id*; tell whether there was something."""
        keys = self._keys(id)
        with self._talking(id):
            done: Any = self._client.eval(DELETE, len(keys), *keys)
            self._client.zrem(self._index, _member(id))
        return bool(done)

    def swap(self, name: str, before: str | None, after: str | None, seconds: float) -> str | None:
        """Change a note; see :meth:`promptstream.state.Notes.swap`."""
        record.check_id(name)
        key = f"{self._prefix}:note:{_tag(name)}".encode()
        words = ["-" if each is None else f"={each}" for each in (before, after)]
        with self._talking(name, "Whether the note was changed is not known."):
            answer: Any = self._client.eval(SWAP, 1, key, *words, max(1, int(seconds * 1000)))
            noted = record.as_text(answer)
        return None if noted == "-" else noted[1:]

    def close(self) -> None:
        """Close the connections, if they are this store's own; may be called twice."""
        if not self._closed and self._ours:
            self._client.close()
        self._closed = True

    def _open(self) -> None:
        if self._closed:
            raise StateError(f"The store in {self._where} is closed; open it again.")

    def _keys(self, id: str) -> tuple[bytes, bytes, bytes]:
        """Give the keys of the head, the messages, and the revision of one that was deleted."""
        record.check_id(id)
        head, messages, deleted = (f"{self._prefix}:{_tag(id)}:{part}" for part in ("head", "messages", "deleted"))
        return head.encode(), messages.encode(), deleted.encode()

    def _heads(self, names: Sequence[str]) -> Sequence[Sequence[Any]]:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(self._keys(name)[0], *_LISTED)
        return pipeline.execute() if names else ()

    def _entry(self, id: str, head: Sequence[Any]) -> Entry:
        try:
            revision, count, created, updated = self._numbers(id, *head[:5])
        except (TypeError, ValueError) as error:
            raise record.corrupt(id, self._where, f"its head: {error!s:.200}") from None
        return Entry(id, revision, count, created, updated, record.read_state(id, self._where, head[5]))

    def _numbers(self, id: str, form: Any, *numbers: Any) -> tuple[int, int, float, float]:
        """Read revision, count of messages, and the times of the first and the last save."""
        if record.as_text(form) != FORMAT:
            raise ValueError(f"it is of format {record.as_text(form):.20}, and this promptstream reads format {FORMAT}")
        revision, count, created, updated = map(record.as_text, numbers)
        return int(revision), int(count), float(created), float(updated)

    @contextmanager
    def _talking(self, id: str = "", changed: str = "Nothing was changed.") -> Iterator[None]:
        """Raise what the client raises in the block as an error of ours, which shows no password."""
        from redis import exceptions

        self._open()
        try:
            yield
        except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
            raise StateError(f"{self._where} refused the user or password: {error!s:.200} {changed}") from error
        except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
            raise StateError(
                f"{self._where} cannot be reached: {error!s:.200} See that it runs, and try again. {changed}"
            ) from error
        except UnicodeDecodeError as error:
            raise record.corrupt(id, self._where, f"what it holds is not UTF-8 ({error.reason})") from None
        except exceptions.RedisError as error:
            if "WRONGTYPE" in str(error):
                raise record.corrupt(id, self._where, "another program uses its keys") from error
            raise StateError(f"{self._where} refused: {error!s:.200} Nothing was changed.") from error


def _tag(id: str) -> str:
    """Give *id* in braces, so that a cluster keeps its keys in one place; its own braces would end that early."""
    return f"{{{id.replace('%', '%25').replace('{', '%7B').replace('}', '%7D')}}}"


def _member(id: str) -> bytes:
    return id.encode()


def _client(where: Any) -> redis.Redis:
    try:
        from redis import Redis, exceptions
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry
    except ImportError:
        raise ConfigError("A RedisStore needs the package redis: pip install 'promptstream-sdk[redis]'.") from None
    if not isinstance(where, str):
        if not callable(getattr(where, "eval", None)):
            raise ConfigError(f"{where!r:.80} is neither a redis.Redis nor an address; give redis://host:port.")
        return where  # type: ignore[no-any-return]
    try:
        client = Redis.from_url(
            plain(where),
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
            retry_on_error=[exceptions.ConnectionError, exceptions.TimeoutError],
        )
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)  # not connected yet
    except (ValueError, TypeError):  # whose text may hold the password
        raise ConfigError(
            "The address of Redis cannot be read; write redis://user:password@host:port/db, "
            "with special characters in the password as %XX."
        ) from None
    return client


def _address(client: Any) -> str:
    settings = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    if "path" in settings:
        return str(settings["path"])
    host = str(settings.get("host", "localhost"))
    return f"{f'[{host}]' if ':' in host else host}:{settings.get('port', 6379)}"
