"""A round's calls in, what is to be done with each out; and those that may run, run."""

from __future__ import annotations

import contextvars
import copy
import json
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from promptstream.errors import (
    Cancelled,
    ConfigError,
    StreamError,
    ToolArguments,
    ToolError,
    ToolLoopLimit,
    ToolNotFound,
)
from promptstream.tools.approval import Denied, Held, edited, refusal
from promptstream.tools.context import ToolContext
from promptstream.tools.result import encode_result
from promptstream.values.message import ToolCall, ToolResult
from promptstream.values.names import nearest
from promptstream.values.policy import ToolPolicy
from promptstream.wire.watch import CancelToken, Watch

if TYPE_CHECKING:
    from promptstream.tools.tool import Tool
    from promptstream.tools.toolbox import Toolbox

Verdict = bool | Denied | ToolCall
Approve = Callable[[ToolCall], Verdict]
NOT_RUN = "interrupted: the tool did not run"


@attrs.define(eq=False)
class Job:
    """Hold one call of a round, and what becomes of it: a tool to run it, a result, or neither while it is held."""

    call: ToolCall
    tool: Tool | None = None
    result: ToolResult | None = None
    client_side: bool = False

    @property
    def ready(self) -> bool:
        """True where it is to be run now."""
        return self.tool is not None and self.result is None

    @property
    def held(self) -> Held | None:
        """The call, where somebody else must decide about it or run it."""
        return Held(self.call, self.client_side) if self.tool is None and self.result is None else None

    def as_running(self) -> Held:
        """Give the call as it is kept while the round runs: should this process end now, it is not run again."""
        if self.result is not None:
            return Held(self.call, state="answered", result=self.result)
        return self.held or Held(self.call, state="running")


class Loop:
    """Judge and run the calls of one turn, within its policy."""

    def __init__(
        self,
        toolbox: Toolbox,
        policy: ToolPolicy,
        approve: Approve | None = None,
        *,
        offered: Iterable[str],
        conversation_id: str | None = None,
    ) -> None:
        self._toolbox = toolbox
        self._offered = frozenset(offered)
        """The tools that the model may call."""
        self._policy = policy
        self._approve = approve
        self._conversation_id = conversation_id
        self.warnings: list[str] = []
        """How tools failed, in full: the model is told the type alone."""
        self.ran = False
        """True once a tool was started, so that the turn has left traces in the world."""
        self._rounds = self._calls = 0
        self._made: Counter[str] = Counter()
        self._mistaken: set[str] = set()
        """The tools whose calls were mistaken in an earlier round; the model was told once."""
        self._repeating: set[str] = set()

    def judge(self, calls: Sequence[ToolCall], watch: Watch) -> list[Job]:
        """Decide what is to be done with each of *calls*, a round of the model's; people are asked here.

        Raises:
            ToolLoopLimit: the policy allows no further round or call.
            ToolNotFound, ToolArguments: the model made a mistake again that it was told of.
            ConfigError: ``approve=`` gave something that is no decision.
        """
        policy = self._policy
        self._rounds, self._calls = self._rounds + 1, self._calls + len(calls)
        if self._rounds > policy.max_rounds:
            raise ToolLoopLimit(
                f"The model asks for tools in round {self._rounds}; tool_policy allows {policy.max_rounds} "
                "(max_rounds). resume() goes on from the rounds that are done."
            )
        if self._calls > policy.max_tool_calls_per_turn:
            raise ToolLoopLimit(
                f"The model made {self._calls} calls in this turn; tool_policy allows "
                f"{policy.max_tool_calls_per_turn} (max_tool_calls_per_turn)."
            )
        told = set(self._mistaken)
        return [self._judged(call, watch, told) for call in calls]

    def _judged(self, call: ToolCall, watch: Watch, told: set[str]) -> Job:
        if call.name not in self._offered:
            known = f" There are: {', '.join(sorted(self._offered))}." if self._offered else ""
            text = f"There is no tool {call.name!r:.80}.{nearest(call.name, self._offered)}{known}"
            return self._mistake(call, ToolNotFound(text), told)
        if call.arguments is None or call.problem is not None:
            text = f"The arguments of {call.name!r:.80} cannot be used: {call.problem or 'they are no JSON object'}"
            return self._mistake(call, ToolArguments(text), told)
        try:
            self._toolbox.validate(call.name, call.arguments)
        except ToolArguments as error:
            return self._mistake(call, error, told)
        tool = self._toolbox.find(call.name)
        if tool is None:
            return Job(call, client_side=True)
        if (repeated := self._repeated(call)) is not None:
            return Job(call, tool, repeated)
        if self._approve is not None:
            return self._asked(Job(call, tool), watch)
        return Job(call) if tool.approval else Job(call, tool)

    def _mistake(self, call: ToolCall, error: ToolError, told: set[str]) -> Job:
        """Tell the model of its mistake, once for each tool (faults 55 and 56)."""
        if call.name in told:
            try:
                raise error
            finally:
                del error  # a frame that kept what it raises would be a cycle with its traceback
        self._mistaken.add(call.name)
        return Job(call, result=ToolResult(call.id, call.name, str(error), True))

    def _repeated(self, call: ToolCall) -> ToolResult | None:
        """Give the result that stands in for a call that was made too often, or None (fault 58).

        Raises:
            ToolLoopLimit: the model was told before.
        """
        key = json.dumps([call.name, call.arguments], sort_keys=True, default=str)
        self._made[key] += 1
        times = self._made[key]
        if times < self._policy.max_identical_calls:
            return None
        if key in self._repeating:
            raise ToolLoopLimit(
                f"The model keeps calling {call.name!r:.80} with the same arguments ({times} times in this turn; "
                "tool_policy: max_identical_calls)."
            )
        self._repeating.add(key)
        text = f"You have made this same call {times} times. It was not run again; go on without it."
        return ToolResult(call.id, call.name, text, True)

    def _asked(self, job: Job, watch: Watch) -> Job:
        """Ask the application about one call; no clock runs while it makes up its mind."""
        assert self._approve is not None
        shown = copy.deepcopy(job.call)
        with watch.unclocked("approval"):
            verdict = self._approve(shown)
        watch.check()
        if verdict is True:
            # Who changes the arguments in place and says yes means the changed ones.
            return (
                job if shown.arguments == job.call.arguments else self._checked(edited(job.call, shown.arguments or {}))
            )
        if verdict is False or isinstance(verdict, Denied):
            job.result = refusal(job.call, verdict.reason if isinstance(verdict, Denied) else "")
            return job
        if not isinstance(verdict, ToolCall):
            raise ConfigError(
                f"approve= gave {verdict!r:.60} for {job.call.name!r:.60}; give True, False, Denied(reason) or the "
                "ToolCall with other arguments. The call was not run."
            )
        if (verdict.id, verdict.name) != (job.call.id, job.call.name) or verdict.arguments is None:
            raise ConfigError(f"approve= gave another call than {job.call.name!r:.60}; only its arguments may differ.")
        try:  # as text too, which is what some providers are told, and beside what the model's own call carries
            return self._checked(edited(job.call, verdict.arguments))
        except TypeError as error:
            raise ConfigError(
                f"approve= gave arguments for {job.call.name!r:.60} that cannot be used: {error}"
            ) from None

    def _checked(self, call: ToolCall) -> Job:
        """Give the job of a call that a person edited.

        Raises:
            ToolArguments: the arguments they gave are not valid.
        """
        tool = None if call.name in self._policy.blocklist else self._toolbox.find(call.name)
        if tool is None:
            raise ToolNotFound(
                f"The call {call.id!r:.80} of {call.name!r:.80} cannot be run here; give the tool by tools=[…] and "
                "approve it again, or answer it by submit() or reject()."
            )
        tool.validate(call.arguments or {})
        return Job(call, tool)

    def settled(self, held: Held) -> Job:
        """Give the job of a call that was decided since its turn ended.

        Raises:
            ToolNotFound, ToolArguments: it is approved, and cannot be run.
        """
        return Job(held.call, result=held.result) if held.result is not None else self._checked(held.call)

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Run what is ready of *jobs*, at the same time where there are several, and set their results.

        What a tool raises is its result. Every job that was begun has its result when this ends, however it ends.

        Raises:
            Cancelled, KeyboardInterrupt, SystemExit: a tool ended by it.
            StreamError: the turn was stopped meanwhile.
        """
        ready = [job for job in jobs if job.ready]
        if not ready:
            return
        watch.idling("tools")
        watch.check()
        token = CancelToken()
        forget = watch.listen(lambda: token.cancel("its turn was stopped"))
        if watch.stopped:  # just before it was listened to
            token.cancel("its turn was stopped")
        self.ran = True
        try:
            if len(ready) == 1 or self._policy.parallel == 1:
                for job in ready:
                    contextvars.copy_context().run(self._run_one, job, watch, token)
            else:
                self._run_all(ready, watch, token)
        except BaseException as stop:
            token.cancel("the round was stopped")  # Ctrl-C may come while tools run in threads, or while these start
            if isinstance(stop, Cancelled):
                watch.check()  # says why, where the tool was told so by its token: the turn's time may have run out
            raise
        finally:
            forget()
        watch.check()

    def _run_one(self, job: Job, watch: Watch, token: CancelToken) -> None:
        assert job.tool is not None
        call = job.call
        if token.cancelled:
            job.result = ToolResult(call.id, call.name, NOT_RUN, True)
            return
        context = ToolContext(call, cancel=token, deadline=watch.total, conversation_id=self._conversation_id)
        job.result = ToolResult(call.id, call.name, "interrupted: the tool was stopped", True)
        try:
            job.result = ToolResult(call.id, call.name, job.tool.run(call.arguments or {}, context))
        except Cancelled:
            raise
        except ToolError as error:  # its text is meant for the model
            job.result = ToolResult(call.id, call.name, encode_result(_said(error)), True)
        except Exception as error:
            if watch.stopped and isinstance(error, StreamError):
                return  # the turn's own ending, as the tool's context told it
            # The type alone: the text of any error may hold what a model must not see (fault 57).
            job.result = ToolResult(call.id, call.name, f"The tool failed: {type(error).__name__}.", True)
            self.warnings.append(f"The tool {call.name!r:.80} failed: {type(error).__name__}: {_said(error)}")

    def _run_all(self, ready: Sequence[Job], watch: Watch, token: CancelToken) -> None:
        """Run *ready* in threads, and wait for all of them: a call that runs cannot be taken back."""
        todo: queue.SimpleQueue[tuple[contextvars.Context, Job]] = queue.SimpleQueue()
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for job in ready:
            todo.put((contextvars.copy_context(), job))

        def work() -> None:
            while True:
                try:
                    context, job = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    context.run(self._run_one, job, watch, token)
                except BaseException as stop:  # raised again in the turn's own thread
                    token.cancel("another tool of the round was stopped")
                    done.put(stop)
                else:
                    done.put(None)

        for number in range(min(self._policy.parallel, len(ready))):
            thread = threading.Thread(target=work, name=f"promptstream-tool-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has none left: the threads there are, or this one, do it all
                if number == 0:
                    work()
                break
        raised = _first([done.get() for _ in ready])
        try:
            if raised is not None:
                raise raised
        finally:
            del raised  # as above


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Exception as another:  # somebody else's class
        return f"(its text cannot be had: {type(another).__name__})"


def _first(raised: Sequence[BaseException | None]) -> BaseException | None:
    return next((each for each in raised if each is not None), None)


def results(jobs: Sequence[Job]) -> Iterator[ToolResult]:
    """Give the results that are there, in the order of the calls."""
    for job in jobs:
        if job.result is not None:
            yield job.result


def unfinished(jobs: Sequence[Job]) -> None:
    """Give each job that was to run, and did not, the result that says so."""
    for job in jobs:
        if job.ready:
            job.result = ToolResult(job.call.id, job.call.name, NOT_RUN, True)
