"""A pack, a prompt and the settings of a batch in, the results of its rows out, wherever they run."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Mapping
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import attrs

from promptstream import opening
from promptstream.batch.result import Result
from promptstream.batch.worker import token_here
from promptstream.errors import ConfigError, DeadlineExceeded, Overloaded, PromptStreamError, RateLimited
from promptstream.values.names import nearest
from promptstream.values.request import Parameters
from promptstream.values.timing import Timeout
from promptstream.values.tokens import PER_MESSAGE, text_tokens
from promptstream.wire.watch import CancelToken

if TYPE_CHECKING:
    from promptstream.conversation import Conversation
    from promptstream.packs.pack import Pack
    from promptstream.stream import Stream
    from promptstream.values.response import Response

Raised = TypeVar("Raised", bound=Exception)
_ASKED = ("message", "variables", "attachments", "json", "models", "timeout", "extra", *Parameters.__annotations__)
"""What a row says to :meth:`Conversation.stream`."""
_KEPT = ("id", "metadata")
"""What is kept with a row and goes to nobody."""
_LETTERS = 4
"""Characters of a token."""
_KNOWN = frozenset((*_ASKED, *_KEPT))
_MOST = 4
"""Jobs that a process which runs the rows of others keeps open."""
_jobs: dict[str, Job] = {}
"""Those that came to this process, by their ids, the oldest first."""


class JobFailed(Exception):
    """Tell that a job cannot be opened where it runs, so that none of its rows can be run there."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@attrs.frozen(eq=False, slots=False)
class Job:
    """Hold what all rows of a batch have in common. It travels to where they run, and is opened there once.

    Pickled, it is small: the pack as a dict, the prompt's name, and the options. Keys are read where it is opened.
    """

    pack: Pack | Mapping[str, Any] | None = None
    prompt: str | None = None
    system: str = ""
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    id: str = attrs.field(factory=lambda: uuid4().hex)
    _opened: dict[int, Conversation] = attrs.field(init=False, repr=False, factory=dict)
    """What it was opened as, by process."""

    def run(
        self,
        index: int,
        row: Mapping[str, Any],
        deadline: float | None = None,
        cancel: CancelToken | Event | None = None,
    ) -> Result:
        """Take the turn of *row*, in a conversation of its own, and tell what became of it. Any thread may call it.

        Args:
            index: the row's place among all.
            row: what it asks.
            deadline: when it must be over, as ``time.time()`` tells it.
            cancel: stops it.

        Raises:
            JobFailed: the job cannot be opened here.
        """
        try:
            opened = self.opened()
        except (PromptStreamError, TypeError, ValueError) as failed:
            raise JobFailed(bare(failed)) from None
        began = time.monotonic()
        conversation = opened.fork()
        stream: Stream | None = None
        response: Response | None = None
        error: PromptStreamError | None = None
        try:
            stream = conversation.stream(
                **_asked(row, self._timeout(opened, row, deadline)), cancel=cancel or token_here()
            )
            response = stream.result()
        except Exception as raised:
            error = _ending(raised, stream)
        finally:
            conversation.close()
        seconds = time.monotonic() - began
        attempts = 0 if stream is None else stream.attempts
        return Result(index, row, response, error, attempts, seconds, conversation.spent)

    def open(self) -> Conversation:
        """Open the conversation that each row's is a fork of.

        Raises:
            PromptStreamError, TypeError, ValueError: as :func:`promptstream.open`.
        """
        if self.pack is None:
            return opening.chat(self.system, **self.options)
        return opening.open(self.pack, self.prompt, **self.options)

    def opened(self) -> Conversation:
        """Give that conversation, opened once in this process; raises as :meth:`open`. Any thread may call it."""
        opened = self._opened.get(os.getpid())  # a fork opens its own
        if opened is not None:
            return opened
        made = self.open()
        opened = self._opened.setdefault(os.getpid(), made)
        if opened is not made:  # another thread was first
            made.close()
        return opened

    def tokens(self, row: Mapping[str, Any]) -> int:
        """Estimate the tokens of the prompt of *row*, quickly; attachments do not count."""
        said = (row.get("message"), row.get("json"), row.get("variables"))
        letters = sum(len(each if isinstance(each, str) else str(each)) for each in said if each is not None)
        return self._base + letters // _LETTERS

    @cached_property
    def _base(self) -> int:
        """Tokens of what is the same in the prompts of all rows."""
        pack: Any = self.pack
        return text_tokens(self.system if pack is None else pack.prompt(self.prompt).system_template) + PER_MESSAGE

    def close(self) -> None:
        """Close what :meth:`opened` gave in this process; used again, it is opened anew."""
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            opened.close()

    def is_refused(self, result: Result) -> bool:
        """Tell whether a row was turned away before anything came, so that it may ask again; not with retries off."""
        error = result.error
        if not (isinstance(error, (RateLimited, Overloaded)) and error.retryable) or result.spent.tokens or result.text:
            return False
        given = self.options.get("retry") or getattr(self.options.get("provider"), "retry", None)
        return given is None or given.attempts > 1

    def check_travels(self) -> None:
        """Make sure that the job can be sent elsewhere, and takes no key along.

        Raises:
            ConfigError: an option cannot; it is named.
        """
        from promptstream.client import Provider

        if self.options.get("api_key") is not None:
            raise ConfigError("api_key= is not sent to where the rows run: set its variable in the environment there.")
        for name, value in self.options.items():
            held = value if isinstance(value, (list, tuple)) else (value,)
            if any(isinstance(each, Provider) for each in held):
                raise ConfigError(
                    f"{name}= holds a Provider, with its key and connections, which is not sent to where the rows "
                    "run: give its name, and set its key in the environment there."
                )
            try:
                pickle.dumps(value)
            except Exception as error:  # whatever a foreign __reduce__ raises
                raise ConfigError(
                    f"{name}={value!r:.60} cannot be sent to where the rows run: {error}. Functions must stand at "
                    "the top of a module; executor='threads' takes anything."
                ) from None

    @cached_property
    def packed(self) -> bytes:
        """The job without its id, pickled once for all rows."""
        raw = getattr(self.pack, "raw", self.pack)
        return pickle.dumps((raw, self.prompt, self.system, dict(self.options)), pickle.HIGHEST_PROTOCOL)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_arrived, (self.id, self.packed))

    def _timeout(self, opened: Conversation, row: Mapping[str, Any], deadline: float | None) -> Any:
        if deadline is None:
            return row.get("timeout")
        left = deadline - time.time()
        if left <= 0:
            raise DeadlineExceeded("The batch's deadline was over before the row was begun.", phase="start")
        own = Timeout.of(row.get("timeout"), Timeout.of(self.options.get("timeout"), opened.provider.timeout))
        return attrs.evolve(own, total=left if own.total is None else min(own.total, left))


def _arrived(id: str, packed: bytes) -> Job:
    """Give the job of this *id*: the one that is here already, or the one that *packed* holds."""
    job = _jobs.get(id)
    if job is None:
        pack, prompt, system, options = pickle.loads(packed)  # noqa: S301  # from our own driver
        job = _jobs.setdefault(id, Job(pack, prompt, system, options, id))
        while len(_jobs) > _MOST:
            _jobs.pop(next(iter(_jobs))).close()
    return job


def _asked(row: Mapping[str, Any], timeout: Any) -> dict[str, Any]:
    """Give what *row* says to :meth:`Conversation.stream`.

    Raises:
        ConfigError: it says something else besides.
    """
    if not _KNOWN.issuperset(row):
        name = next(str(each) for each in row if each not in _KNOWN)
        raise ConfigError(
            f"A row has no {name!r:.60}.{nearest(name, _KNOWN)} It has message, variables, attachments, json, "
            "models, timeout, extra, parameters such as temperature, and id and metadata, which are kept with it."
        )
    asked = {name: value for name, value in row.items() if name not in _KEPT}
    asked["timeout"] = timeout
    return asked


def _ending(raised: Exception, stream: Stream | None) -> PromptStreamError:
    """Give *raised* as an error of ours."""
    error = raised
    if not isinstance(raised, PromptStreamError) and stream is not None:
        try:
            stream.result()  # asked again, a stream tells how it ended
        except PromptStreamError as recorded:
            error = recorded
    if not isinstance(error, PromptStreamError):
        kind = ConfigError if isinstance(raised, (TypeError, ValueError)) else PromptStreamError
        error = kind(str(raised) if kind is ConfigError else f"{type(raised).__name__}: {raised}")
    return bare(error)


def bare(error: Raised) -> Raised:
    """Give *error* without the frames that it came through, which would hold all they know."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error
