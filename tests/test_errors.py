"""Errors: one tree, one base, each with what a caller needs to know, and each whole after pickling."""

from __future__ import annotations

import copy
import copyreg
import json
import pickle
import re

import pytest

from promptstream import Response, errors
from promptstream.errors import PackError, PromptStreamError, ProviderError, StreamError
from promptstream.values.chunk import ChunkType
from promptstream.values.twin import twin

TREE = {
    "PromptStreamError": ("Exception",),
    "PackError": ("PromptStreamError",),
    "PromptNotFound": ("PackError", "KeyError"),
    "MissingVariable": ("PackError", "KeyError"),
    "VariableInvalid": ("PackError", "ValueError"),
    "ConfigError": ("PromptStreamError",),
    "ProviderNotFound": ("ConfigError",),
    "MissingKey": ("ConfigError",),
    "Unsupported": ("ConfigError", "NotImplementedError"),
    "StreamError": ("PromptStreamError",),
    "ProviderError": ("StreamError",),
    "Authentication": ("ProviderError",),
    "PermissionDenied": ("ProviderError",),
    "NotFound": ("ProviderError",),
    "InvalidRequest": ("ProviderError",),
    "ContextTooLong": ("InvalidRequest",),
    "QuotaExceeded": ("ProviderError",),
    "RateLimited": ("ProviderError",),
    "Overloaded": ("ProviderError",),
    "ServerError": ("ProviderError",),
    "ContentFiltered": ("ProviderError",),
    "ConnectFailed": ("StreamError", "ConnectionError"),
    "Truncated": ("StreamError",),
    "ProtocolError": ("StreamError",),
    "LimitExceeded": ("StreamError",),
    "AnswerInvalid": ("StreamError", "ValueError"),
    "WorkerLost": ("StreamError",),
    "Cancelled": ("StreamError",),
    "DeadlineExceeded": ("StreamError", "TimeoutError"),
    "FirstTokenTimeout": ("StreamError", "TimeoutError"),
    "IdleTimeout": ("StreamError", "TimeoutError"),
    "EndOfStream": ("PromptStreamError", "EOFError"),
    "ToolError": ("PromptStreamError",),
    "ToolNotFound": ("ToolError",),
    "ToolArguments": ("ToolError",),
    "ToolLoopLimit": ("ToolError",),
    "ApprovalPending": ("ToolError",),
    "GuardrailTripped": ("PromptStreamError",),
    "BudgetExceeded": ("PromptStreamError",),
    "StateError": ("PromptStreamError",),
    "ConversationBusy": ("StateError",),
    "ConversationClosed": ("StateError",),
    "StoreCorrupt": ("StateError",),
}
CLASSES = [getattr(errors, name) for name in TREE]
PARTIAL = Response(text="Half an ans", finish_reason=None)


def made(cls: type[PromptStreamError]) -> PromptStreamError:
    """Make an error with everything set that its class has."""
    details: dict = {}
    if issubclass(cls, PackError):
        details = {"problems": ["$.a: is wrong", "$.b: is missing"]}
    if issubclass(cls, StreamError):
        details = {
            "response": PARTIAL,
            "provider": "openai",
            "model": "m-1",
            "phase": "body",
            "request_id": "req_1",
            "retryable": True,
            "attempts": 3,
        }
    if issubclass(cls, ProviderError):
        details |= {"status": 429, "code": "slow_down", "retry_after": 1.5}
    return cls("It failed. Do this.", **details)


def test_the_tree_is_the_one_that_the_design_draws():
    """Every class has exactly its bases, and there is no class besides."""
    found = {
        name: tuple(base.__name__ for base in value.__bases__)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert found == TREE


def test_the_tree_in_the_documentation_names_every_class():
    """The drawing at the head of the module leaves nothing out."""
    drawn = set(re.findall(r"[A-Z][A-Za-z]+", errors.__doc__))
    assert set(TREE) <= drawn


@pytest.mark.parametrize("cls", CLASSES, ids=TREE)
def test_the_text_of_an_error_is_its_plain_message(cls):
    """Not quoted as KeyError would, and not a tuple as OSError would."""
    error = made(cls)
    assert str(error) == error.message == "It failed. Do this."
    assert error.args == ("It failed. Do this.",)
    assert "It failed. Do this." in repr(error)
    assert repr(error).startswith(cls.__name__)


@pytest.mark.parametrize("cls", CLASSES, ids=TREE)
def test_an_error_can_be_made_without_anything(cls):
    """Nothing is mandatory, so that users' own scripts and tests can raise any of them."""
    error = cls()
    assert str(error) == ""
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(6))]
)
@pytest.mark.parametrize("cls", CLASSES, ids=TREE)
def test_every_error_pickles_and_copies_whole(cls, again):
    """Type, text, arguments and every attribute survive, the partial answer among them."""
    error = made(cls)
    error.add_note("a note") if hasattr(error, "add_note") else None
    error.mine = "set later"
    twin = again(error)
    assert type(twin) is cls
    assert twin is not error
    assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("cls", CLASSES, ids=TREE)
def test_every_error_is_an_event_of_five_keys(cls):
    """``to_event`` has the five keys of a chunk's, and JSON takes it."""
    event = made(cls).to_event()
    assert event == {"type": "error", "content": "", "tool_call": None, "error": "It failed. Do this.", "final": None}
    json.dumps(event, allow_nan=False)


@pytest.mark.parametrize("cls", CLASSES, ids=TREE)
def test_every_error_is_a_chunk_that_carries_it(cls):
    """The ERROR chunk holds the error and what came of the answer."""
    error = made(cls)
    chunk = error.to_chunk()
    assert chunk.type is ChunkType.ERROR
    assert chunk.error is error
    assert chunk.response is error.response
    assert str(chunk) == ""


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, StreamError)], ids=lambda cls: cls.__name__)
def test_an_error_of_a_turn_has_its_facts_and_a_partial_answer(cls):
    """Without arguments the facts are unknown and the answer is empty, never None."""
    error = made(cls)
    assert error.response is PARTIAL
    assert (error.provider, error.model, error.phase, error.request_id) == ("openai", "m-1", "body", "req_1")
    assert (error.retryable, error.attempts) == (True, 3)
    plain = cls("x")
    assert plain.response == Response()
    assert (plain.provider, plain.model, plain.phase, plain.request_id) == (None, None, None, None)
    assert (plain.retryable, plain.attempts) == (False, 1)


def test_an_error_of_a_provider_has_status_code_and_hint():
    """What the provider said in figures is beside what it said in words."""
    error = made(errors.RateLimited)
    assert (error.status, error.code, error.retry_after) == (429, "slow_down", 1.5)
    plain = errors.RateLimited("x")
    assert (plain.status, plain.code, plain.retry_after) == (None, None, None)


def test_an_error_of_a_pack_lists_its_problems():
    """``problems`` is a tuple, empty where there is nothing to list."""
    assert made(errors.PackError).problems == ("$.a: is wrong", "$.b: is missing")
    assert errors.MissingVariable("x").problems == ()


def test_errors_can_be_caught_by_the_classes_that_python_has_for_them():
    """Code that knows nothing of this library still catches what it can handle."""
    for cls, builtin in (
        (errors.ConnectFailed, OSError),
        (errors.DeadlineExceeded, OSError),
        (errors.IdleTimeout, TimeoutError),
        (errors.MissingVariable, LookupError),
        (errors.Unsupported, RuntimeError),
        (errors.VariableInvalid, ValueError),
        (errors.EndOfStream, EOFError),
    ):
        with pytest.raises(builtin, match="failed"):
            raise made(cls)


def test_an_error_between_processes_keeps_its_cause_apart(monkeypatch):
    """The cause, which may not pickle, is no obstacle: the error itself arrives whole."""
    monkeypatch.delitem(copyreg.dispatch_table, errors.Truncated, raising=False)  # Dask's takes the cause along
    try:
        raise made(errors.Truncated) from OSError(lambda: None)
    except errors.Truncated as error:
        twin = pickle.loads(pickle.dumps(error))
    assert (str(twin), twin.response) == ("It failed. Do this.", PARTIAL)


def test_a_copy_leaves_the_traceback_also_where_others_pickle_it(monkeypatch):
    """Dask, once imported, has every exception pickle its traceback, which would hold the turn that failed."""

    def whole(error):
        return (lambda traceback: errors.Truncated("Whole.").with_traceback(traceback), (error.__traceback__,))

    monkeypatch.setitem(copyreg.dispatch_table, errors.Truncated, whole)
    try:
        raise made(errors.Truncated)
    except errors.Truncated as error:
        copied = copy.copy(error)
    assert (type(copied), str(copied), copied.response) == (errors.Truncated, "It failed. Do this.", PARTIAL)
    assert copied.__traceback__ is None


@pytest.mark.parametrize(
    "error",
    [OSError(2, "no file", "a.txt"), UnicodeDecodeError("utf-8", b"x", 0, 1, "why"), KeyError("x")],
    ids=repr,
)
def test_a_twin_of_a_foreign_error_has_its_arguments_and_none_of_its_frames(error, monkeypatch):
    """Whatever copyreg's table says of its class."""
    monkeypatch.setitem(copyreg.dispatch_table, type(error), lambda error: (Exception, ()))
    error.note = "kept"
    try:
        raise error from OSError()
    except Exception as raised:
        made = twin(raised)
    assert (type(made), str(made), made.args, made.note) == (type(error), str(error), error.args, "kept")
    assert made.__traceback__ is made.__cause__ is made.__context__ is None


def test_every_class_says_in_a_line_when_it_is_raised():
    """The documentation of an error is its meaning."""
    for cls in CLASSES:
        assert cls.__doc__.splitlines()[0].endswith((".", ";")), cls
        assert "__doc__" in vars(cls), cls
