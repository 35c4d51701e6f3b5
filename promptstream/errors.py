"""Everything that can go wrong, as types. ``str(error)`` says what, where and what to do.

::

    PromptStreamError
    ├─ PackError (.problems)
    │  ├─ PromptNotFound(KeyError) · MissingVariable(KeyError) · VariableInvalid(ValueError)
    ├─ ConfigError
    │  ├─ ProviderNotFound · MissingKey · Unsupported(NotImplementedError)
    ├─ StreamError            .response .provider .model .phase .request_id .retryable .attempts
    │  ├─ ProviderError       .status .code .retry_after .rate_limits
    │  │  ├─ Authentication · PermissionDenied · NotFound · InvalidRequest (ContextTooLong)
    │  │  └─ QuotaExceeded · RateLimited · Overloaded · ServerError · ContentFiltered
    │  ├─ ConnectFailed(ConnectionError) · Truncated · ProtocolError · LimitExceeded
    │  ├─ AnswerInvalid(ValueError) · WorkerLost
    │  ├─ Cancelled
    │  └─ DeadlineExceeded(TimeoutError) · FirstTokenTimeout(TimeoutError) · IdleTimeout(TimeoutError)
    ├─ EndOfStream(EOFError)
    ├─ ToolError
    │  ├─ ToolNotFound · ToolArguments · ToolLoopLimit · ApprovalPending
    ├─ GuardrailTripped · BudgetExceeded
    └─ StateError
       ├─ ConversationBusy · ConversationClosed · StoreCorrupt
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from promptstream.values.chunk import Chunk, ChunkType
from promptstream.values.rate_limits import RateLimits
from promptstream.values.response import Response


def _rebuild(cls: type[PromptStreamError], state: dict[str, Any]) -> PromptStreamError:
    error = cls.__new__(cls, state["message"])
    error.args = (state["message"],)
    error.__dict__.update(state)
    return error


class PromptStreamError(Exception):
    """Anything this library raises on purpose. Every one of them pickles whole."""

    message: str
    response: Response | None = None

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))

    def __copy__(self) -> PromptStreamError:
        # Not by way of __reduce__, before which copyreg's table goes: where Dask is imported, tblib has put a way
        # for all exceptions there that takes the traceback along, and with it the frames that hold the turn.
        return _rebuild(type(self), self.__dict__.copy())

    def to_chunk(self) -> Chunk:
        """Give the ERROR chunk that stands for this error where ``on_error="chunk"``."""
        return Chunk(ChunkType.ERROR, error=self, response=self.response)

    def to_event(self) -> dict[str, Any]:
        """Give the error as an event dict, as :meth:`Chunk.to_event` does."""
        return self.to_chunk().to_event()


class PackError(PromptStreamError):
    """A pack cannot be used; ``problems`` lists every reason, each with its JSON path."""

    def __init__(self, message: str = "", problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems: tuple[str, ...] = tuple(problems)


class PromptNotFound(PackError, KeyError):
    """The pack has no prompt of that name."""


class MissingVariable(PackError, KeyError):
    """A required variable has no value."""


class VariableInvalid(PackError, ValueError):
    """A variable's value is not of its declared type or breaks its rules."""


class ConfigError(PromptStreamError):
    """Something was set up wrongly; nothing was sent."""


class ProviderNotFound(ConfigError):
    """No provider of that name is registered."""


class MissingKey(ConfigError):
    """No API key was given or found, and the provider needs one."""


class Unsupported(ConfigError, NotImplementedError):
    """The provider lacks what was asked for; nothing was sent."""


class StreamError(PromptStreamError):
    """A turn failed; ``response`` holds what had come by then."""

    response: Response

    def __init__(
        self,
        message: str = "",
        *,
        response: Response | None = None,
        provider: str | None = None,
        model: str | None = None,
        phase: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.response = response or Response()
        self.provider = provider
        self.model = model
        self.phase = phase
        """Where it happened: admission, start, dns, connect, proxy, tls, send, headers, body, decode, retry,
        middleware, tools, approval, read or loop."""
        self.request_id = request_id
        self.retryable = retryable
        """True where sending the same again may work and cannot do harm."""
        self.attempts = attempts


class ProviderError(StreamError):
    """The provider said no, by a status code or inside a 200 stream alike."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        rate_limits: RateLimits | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        """Seconds the provider asks to wait, or None."""
        self.rate_limits = rate_limits
        """What the refusal's headers tell of the account's limits, or None."""


class Authentication(ProviderError):
    """The key is wrong or missing (401)."""


class PermissionDenied(ProviderError):
    """The key may not do this (403)."""


class NotFound(ProviderError):
    """The model or the address does not exist (404)."""


class InvalidRequest(ProviderError):
    """The provider refuses the request as it is (400, 413, 422)."""


class ContextTooLong(InvalidRequest):
    """Prompt and answer do not fit the model's context."""


class QuotaExceeded(ProviderError):
    """The account has no credit or quota left; waiting does not help."""


class RateLimited(ProviderError):
    """Too many requests for now (429)."""


class Overloaded(ProviderError):
    """The provider is too busy for now (503, 529)."""


class ServerError(ProviderError):
    """The provider failed (408, 409, 5xx)."""


class ContentFiltered(ProviderError):
    """The prompt was refused by a filter; no answer was made."""


class ConnectFailed(StreamError, ConnectionError):
    """No connection came about, or it died before any byte of an answer."""


class Truncated(StreamError):
    """The answer was cut: the bytes ended before the provider's finish signal."""


class ProtocolError(StreamError):
    """What came is not what this provider's protocol says."""


class LimitExceeded(StreamError):
    """What came is larger than the library is willing to hold."""


class AnswerInvalid(StreamError, ValueError):
    """The answer came whole, and is not what ``schema`` asked for; ``response`` holds its text."""


class WorkerLost(StreamError):
    """Every process that ran this row of a batch died before it could tell how the row ended."""


class Cancelled(StreamError):
    """The user stopped the stream."""


class DeadlineExceeded(StreamError, TimeoutError):
    """The turn took longer than ``Timeout.total``."""


class FirstTokenTimeout(StreamError, TimeoutError):
    """Nothing of the answer came within ``Timeout.first``."""


class IdleTimeout(StreamError, TimeoutError):
    """The answer stood still for longer than ``Timeout.idle``."""


class EndOfStream(PromptStreamError, EOFError):
    """The stream is over; there is no further chunk."""


class ToolError(PromptStreamError):
    """A tool could not be used."""


class ToolNotFound(ToolError):
    """The model called a tool that nobody offers."""


class ToolArguments(ToolError):
    """The arguments of a call are not whole, or not valid."""


class ToolLoopLimit(ToolError):
    """The model kept calling tools beyond the limit of rounds."""


class ApprovalPending(ToolError):
    """A call waits for an approval that has not been given."""


class GuardrailTripped(PromptStreamError):
    """A guardrail stopped the turn."""


class BudgetExceeded(PromptStreamError):
    """The conversation has spent its budget, or does not fit the one of a prompt."""


class StateError(PromptStreamError):
    """The conversation is not in a state that allows this."""


class ConversationBusy(StateError):
    """Another turn of this conversation is running."""


class ConversationClosed(StateError):
    """The conversation was closed."""


class StoreCorrupt(StateError):
    """What the store holds cannot be read; it was left as it is."""
