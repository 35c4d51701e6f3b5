"""The faults of a conversation, rows 65 and 75 to 77: two turns at once, and what a broken one leaves."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from dialects import TEXT as WHOLE
from dialects import Dialect
from faults.core import Fault, Stage, Step
from faults.says import PART, PARTS, begun, good, hold, part, say, streamed, then
from faults.shapes import event

import promptstream
from promptstream.errors import ConversationBusy, ProtocolError, ServerError, StreamError, Truncated

NO_TURNS = {"completions": "a text completion has no history"}


class Turns:
    """A server of *steps* and a conversation with it: a context manager that gives both."""

    def __init__(self, dialect: Dialect, *steps: Step, **options: Any) -> None:
        self.server = Stage(steps, None)
        self.conv = promptstream.chat(provider=dialect.provider(self.server.origin), **options)

    def __enter__(self) -> tuple[Any, Stage]:
        return self.conv, self.server

    def __exit__(self, *details: object) -> None:
        self.conv.close()
        self.conv.provider.close()
        self.server.close()
        assert not self.server.failures, self.server.failures


def _said(conv: Any) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in conv.messages]


def _busy(dialect: Dialect) -> None:
    """Ask from another thread, and inside the loop, while a turn runs."""
    refused: list[type[BaseException] | None] = []

    def ask(conv: Any) -> None:
        try:
            list(conv.stream("2"))
        except BaseException as error:
            refused.append(type(error))
        else:
            refused.append(None)

    with Turns(dialect, good(dialect)) as (conv, server):
        inner = conv.stream("3")
        texts = []
        for chunk in conv.stream("1"):
            texts.append(chunk.text)
            if not chunk.done and len(refused) < 2:
                other = threading.Thread(target=ask, args=[conv])
                other.start()
                other.join()
                with suppress(ConversationBusy):
                    list(inner)
                    refused.append(None)
                refused.append(ConversationBusy)
        assert refused == [ConversationBusy] * 2, f"the second turn came to {refused}"
        assert "".join(texts) == WHOLE, texts
        assert _said(conv) == [("user", "1"), ("assistant", WHOLE)], _said(conv)
        assert len(server.requests) == 1


def _failure(conv: Any) -> StreamError:
    """Give what a turn fails with."""
    try:
        conv.send("2")
    except StreamError as error:
        return error
    raise AssertionError("the turn is whole")


def _failing(dialect: Dialect) -> None:
    """Fail a turn in three ways: each leaves the history as it was, and the next one goes on from there."""
    cut = say(streamed(dialect, part(dialect)))
    failed = say(streamed(dialect, part(dialect), dialect.failure("server")))
    spoilt = say(streamed(dialect, part(dialect), event(dialect, "123")))
    with Turns(dialect, good(dialect), cut, failed, spoilt, good(dialect)) as (conv, server):
        conv.send("1")
        before = conv.messages
        for error in (Truncated, ServerError, ProtocolError):
            failure = _failure(conv)
            assert type(failure) is error, repr(failure)
            assert failure.response.text == PART, failure.response.text
            assert conv.messages == before, f"after {error.__name__}: {_said(conv)}"
            assert conv.last.text == PART
            assert not conv.last.complete
        conv.send("3")
        assert _said(conv) == [("user", "1"), ("assistant", WHOLE), ("user", "3"), ("assistant", WHOLE)], _said(conv)
        sent = server.requests[-1].body.decode()
        assert PART not in sent.replace(WHOLE, ""), sent


def _left_in_a_turn(dialect: Dialect) -> None:
    """Leave a turn: its partial answer is kept, marked; with keep_partial=False there is no trace of it."""
    for keep in (True, False):
        with Turns(dialect, then(begun(dialect), hold), keep_partial=keep) as (conv, _):
            for _ in conv.stream("1"):
                break
            kept = [("user", "1"), ("assistant", PARTS[0])] if keep else []
            assert _said(conv) == kept, _said(conv)


FAULTS = (
    Fault(65, "a second turn of a conversation, in another thread and in the loop", prove=_busy, per=NO_TURNS),
    Fault(77, "a turn that fails", prove=_failing, per=NO_TURNS),
    Fault(77, "a turn that is left", prove=_left_in_a_turn, per=NO_TURNS),
)
_LATER = "nothing is stored yet: a conversation lives as long as its object"
NOT_MADE = {75: _LATER, 76: _LATER}
