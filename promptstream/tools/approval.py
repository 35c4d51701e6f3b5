"""Calls that wait for somebody's word in, calls that may run or are answered out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from promptstream.errors import ApprovalPending, StateError, ToolNotFound
from promptstream.values.message import ToolCall, ToolResult, part_from_dict, part_to_dict

if TYPE_CHECKING:
    from promptstream.tools.toolbox import Toolbox

UNKNOWN_END = "interrupted: the tool was started, and it is not known how it ended"


@attrs.frozen
class Denied:
    """Refuse a call; the model is told the reason."""

    reason: str = ""


@attrs.frozen
class Held:
    """Hold one call until it is decided."""

    call: ToolCall
    client_side: bool = False
    """True where the application runs it itself and hands in the result."""
    state: Literal["waiting", "approved", "running", "answered"] = "waiting"
    result: ToolResult | None = None

    @property
    def waits(self) -> bool:
        """True until somebody decides."""
        return self.state == "waiting"

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-safe dict that :meth:`from_dict` reads back."""
        result = None if self.result is None else part_to_dict(self.result)
        return {
            "call": part_to_dict(self.call),
            "client_side": self.client_side,
            "state": self.state,
            "result": result,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Held:
        """Build from what :meth:`to_dict` gave.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        call, result = part_from_dict(data["call"]), data["result"] and part_from_dict(data["result"])
        if not isinstance(call, ToolCall) or not isinstance(result, (ToolResult, type(None))):
            raise ValueError("a held call is a call and its result.")
        if data["state"] not in ("waiting", "approved", "running", "answered"):
            raise ValueError(f"a held call's state is {data['state']!r:.40}.")
        return cls(call, bool(data["client_side"]), data["state"], result)


@attrs.frozen
class Pending:
    """Hold the undecided and decided calls of one round, in order. Immutable: each decision gives another."""

    held: tuple[Held, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.held)

    def __iter__(self) -> Iterator[Held]:
        return iter(self.held)

    @property
    def waiting(self) -> tuple[ToolCall, ...]:
        """The calls that nobody has decided yet."""
        return tuple(each.call for each in self.held if each.waits)

    @property
    def runs(self) -> bool:
        """True while somebody runs one of them."""
        return any(each.state == "running" for each in self.held)

    def check(self, resuming: bool) -> None:
        """Make sure that a turn may begin, by a new message or by resuming.

        Raises:
            ApprovalPending: calls wait for a decision, or decided ones for ``resume()``.
        """
        if not self.held or (resuming and not self.waiting):
            return
        if not self.waiting:
            raise ApprovalPending("All pending calls are decided: resume() goes on with them.")
        calls = ", ".join(f"{call.id!r:.80} ({call.name})" for call in self.waiting)
        raise ApprovalPending(
            f"These calls wait for a decision: {calls}. approve(id), reject(id, reason) or submit(id, result) each, "
            "then resume(); or undo() the turn."
        )

    def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None, *, runnable: bool = False) -> Pending:
        """Let the call run, with other *arguments* where they are given; *runnable*: by now there is code for it.

        Raises:
            StateError: no such call waits, it is decided already, or there is no code here that could run it.
            TypeError: *arguments* is no dict of JSON values.
        """
        held = self._waiting(call_id)
        if held.client_side and not runnable:
            raise StateError(f"{_named(held.call)} has no code here to run: give its result by submit({call_id!r}, …).")
        call = held.call if arguments is None else edited(held.call, arguments)
        return self._with(held, attrs.evolve(held, call=call, client_side=False, state="approved"))

    def reject(self, call_id: str, reason: str = "") -> Pending:
        """Answer the call with a refusal.

        Raises:
            StateError: no such call waits, or it is decided already.
        """
        held = self._waiting(call_id)
        return self._with(held, attrs.evolve(held, state="answered", result=refusal(held.call, reason)))

    def submit(self, call_id: str, content: str, *, error: bool = False) -> Pending:
        """Answer the call with a result from elsewhere.

        Raises:
            StateError: no such call waits, or it is decided already.
        """
        held = self._waiting(call_id)
        result = ToolResult(held.call.id, held.call.name, content, error)
        return self._with(held, attrs.evolve(held, state="answered", result=result))

    def started(self) -> Pending:
        """Mark what is approved as running: whoever reads this later must not run it again."""
        return Pending(tuple(attrs.evolve(h, state="running") if h.state == "approved" else h for h in self.held))

    def reopened(self, call_id: str) -> Pending:
        """Let an approved call wait once more: it cannot be run."""
        return Pending(
            tuple(
                attrs.evolve(each, state="waiting") if each.call.id == call_id and each.state == "approved" else each
                for each in self.held
            )
        )

    def recovered(self) -> Pending:
        """Give what is left once whoever ran the calls is gone: theirs is an unknown end."""
        return Pending(tuple(_recovered(each) for each in self.held))

    def _waiting(self, call_id: str) -> Held:
        for each in self.held:
            if each.call.id == call_id:
                if not each.waits:
                    raise StateError(
                        f"{_named(each.call)} is decided already ({each.state}); resume() goes on from it."
                    )
                return each
        waiting = ", ".join(f"{each.call.id!r} ({each.call.name})" for each in self.held if each.waits)
        raise StateError(
            f"No call {call_id!r:.80} is pending. " + (f"These are: {waiting}." if waiting else "None is.")
        )

    def _with(self, old: Held, new: Held) -> Pending:
        return Pending(tuple(new if each is old else each for each in self.held))

    def to_list(self) -> list[dict[str, Any]]:
        """Give a JSON-safe list that :meth:`from_list` reads back."""
        return [each.to_dict() for each in self.held]

    @classmethod
    def from_list(cls, data: Iterable[Mapping[str, Any]]) -> Pending:
        """Build from what :meth:`to_list` gave."""
        return cls(tuple(Held.from_dict(each) for each in data))


def approved(pending: Pending, toolbox: Toolbox, call_id: str, arguments: Mapping[str, Any] | None = None) -> Pending:
    """Give *pending* with one call approved, once it is sure that *toolbox* can run it.

    Raises:
        StateError, TypeError: as :meth:`Pending.approve`.
        ToolNotFound: no code here runs it.
        ToolArguments: the *arguments* given are not valid.
    """
    runnable = any(held.call.id == call_id and toolbox.find(held.call.name) is not None for held in pending)
    decided = pending.approve(call_id, arguments, runnable=runnable)
    call = next(held.call for held in decided if held.call.id == call_id)
    tool = toolbox.find(call.name)
    if tool is None:
        raise ToolNotFound(f"Nobody here runs {call.name!r:.80}: give it by tools=[…], or use submit().")
    tool.validate(call.arguments or {})
    return decided


def _recovered(held: Held) -> Held:
    if held.state != "running":
        return held
    return attrs.evolve(held, state="answered", result=ToolResult(held.call.id, held.call.name, UNKNOWN_END, True))


def _named(call: ToolCall) -> str:
    return f"The call {call.id!r:.80} of {call.name!r:.80}"


def refusal(call: ToolCall, reason: str = "") -> ToolResult:
    """Give the result of a call that somebody refused."""
    return ToolResult(call.id, call.name, f"rejected: {reason}" if reason else "rejected", True)


def edited(call: ToolCall, arguments: Mapping[str, Any]) -> ToolCall:
    """Give *call* with other *arguments*.

    Raises:
        TypeError: they are no dict of JSON values.
    """
    if not isinstance(arguments, Mapping):
        raise TypeError(f"arguments={arguments!r:.80}: give a dict.")
    try:
        raw = json.dumps(dict(arguments), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"arguments={arguments!r:.80} are no JSON: {error}") from None
    return attrs.evolve(call, arguments=json.loads(raw), raw_arguments=raw, problem=None)
