"""An error or any object in, every text by which a careless program would show it out; and whether a key is in one."""

from __future__ import annotations

import base64
import io
import logging
import pickle
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote

import pytest
from dialects import Dialect
from wires.base import KEY

from promptstream import Timeout
from promptstream.client import Provider
from promptstream.errors import StreamError

SHOWN = 8
"""Characters in a row that may show: providers mask keys themselves, and leave so many."""

CANARIES = {
    "wire": KEY,
    "api_key": "sk-Q0pB7mZr4/xWc9vTn+u2",
    "x-custom-token": "tk.Hs83kQmVb51ZyLw0~pGd",
    "cookie": "Ck7dTq9XwAa40mRzVn",
    "query": "qK5nW3xJ8bY6tF1c",
    "proxy": "pr0xyPass.8Vm4",
    "basic": "b4sicPw.Zx71Qd",
}
"""Values that occur nowhere by chance, by the place where they are given."""


def forms(canary: str) -> Iterator[str]:
    """Give what would give *canary* away: any run of its characters, plain, quoted for a URL, or in Base64."""
    for written in (canary, quote(canary, safe="")):
        yield from (written[at : at + SHOWN + 1] for at in range(len(written) - SHOWN))
    for ahead in (b"", b":", b"u:"):
        whole = base64.b64encode(ahead + canary.encode()).decode()
        yield from (whole[at : at + 12] for at in range(4, len(whole) - 16))


_FORMS = {form.lower(): name for name, canary in CANARIES.items() for form in forms(canary)}


def leak(text: str) -> str | None:
    """Give the place of the canary that *text* shows, with what stands around it; None where there is none."""
    text = text.lower()
    for form, name in _FORMS.items():
        at = text.find(form)
        if at >= 0:
            return f"{name}: …{text[max(0, at - 200) : at + 40]}…"
    return None


def assert_hidden(shown: Iterable[tuple[str, str]]) -> None:
    """Check that none of the texts, each after the words for what it is, shows a canary."""
    found = [f"{what} shows {leaked}" for what, text in shown if (leaked := leak(text)) is not None]
    assert not found, "\n".join(found)


def causes(error: BaseException) -> list[BaseException]:
    """Give *error* and all that it was made from, by cause, context and argument."""
    seen: list[BaseException] = []
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseException) and all(each is not other for other in seen):
            seen.append(each)
            pending += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return seen


def frames(trace: TracebackType | None) -> Iterator[tuple[str, str]]:
    """Give each local variable of every frame, but for those of the tests themselves, which know the key."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "/tests/" not in code.co_filename.replace("\\", "/"):
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{name} in {code.co_name}", _described(value)
        trace = trace.tb_next


def _described(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(error).__name__}>"


def _pickled(thing: Any) -> str:
    try:
        return pickle.dumps(thing).decode("latin-1")
    except (TypeError, AttributeError, pickle.PicklingError):  # locks, sockets, functions
        return ""


def shown_by(error: BaseException, *, rich: bool = False) -> Iterator[tuple[str, str]]:
    """Give all that is printed, logged, stored or sent of *error* and its causes, *rich* tracebacks too."""
    for each in causes(error):
        name = type(each).__name__
        yield f"str({name})", str(each)
        yield f"repr({name})", repr(each)
        yield f"{name}.args", repr(each.args)
        yield f"vars({name})", repr(vars(each))
        yield f"pickle of {name}", _pickled(each)
        yield f"traceback of {name}", "".join(traceback.format_exception(type(each), each, each.__traceback__))
        yield from frames(each.__traceback__)
    if hasattr(error, "to_event"):
        yield "to_event()", repr(error.to_event())
    response = getattr(error, "response", None)
    if response is not None:
        yield "response", f"{response!r} {response.to_dict()!r} {_pickled(response)} {response.report()}"
    if rich:
        yield "rich", in_rich(error)


def in_rich(error: BaseException) -> str:
    """Render *error* as rich does, with local variables; without the tests' own frames."""
    from rich.console import Console
    from rich.traceback import Traceback

    trace = error.__traceback__
    while trace is not None and "/tests/" in trace.tb_frame.f_code.co_filename.replace("\\", "/"):
        trace = trace.tb_next
    text = io.StringIO()
    rendered = Traceback.from_exception(type(error), error, trace, show_locals=True, max_frames=0)
    Console(file=text, width=200).print(rendered)
    return text.getvalue()


def state(thing: Any) -> Iterator[tuple[str, str]]:
    """Give what an object shows of itself and of its attributes."""
    name = type(thing).__name__
    yield f"repr({name})", repr(thing)
    yield f"str({name})", f"{thing} {thing!s}"
    yield f"pickle of {name}", _pickled(thing)
    slots = [each for cls in type(thing).__mro__ for each in getattr(cls, "__slots__", ())]
    held = {each: getattr(thing, each, None) for each in slots if not each.startswith("__")}
    for attribute, value in {**held, **getattr(thing, "__dict__", {})}.items():
        yield f"{name}.{attribute}", _described(value)
        if isinstance(value, dict):
            yield f"{name}.{attribute}", _described(list(value.items()))


class Ear(logging.Handler):
    """Hear all that is said beside errors: log records at DEBUG, warnings, and what threads and finalisers die of."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[tuple[str, str]] = []
        self._caught = warnings.catch_warnings(record=True)

    def emit(self, record: logging.LogRecord) -> None:
        told = logging.Formatter("%(name)s %(message)s").format(record)
        self.heard.append((f"log of {record.name}", f"{told} {record.args!r}"))

    def __enter__(self) -> Ear:
        root = logging.getLogger()
        self._before = root.level, threading.excepthook, sys.unraisablehook
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        threading.excepthook = lambda told: self.heard.append(("a thread", repr(told)))
        sys.unraisablehook = lambda told: self.heard.append(("a finaliser", f"{told!r} {told.exc_value!r}"))
        self._warned = self._caught.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(self, *details: Any) -> None:
        self._caught.__exit__(*details)
        level, threading.excepthook, sys.unraisablehook = self._before
        logging.getLogger().setLevel(level)
        logging.getLogger().removeHandler(self)
        self.heard += [("a warning", str(each.message)) for each in self._warned or ()]


# Asking with a key in every place

API_KEY = CANARIES["api_key"]
BASIC = base64.b64encode(f"u:{CANARIES['basic']}".encode()).decode()
HEADERS = {"X-Custom-Token": CANARIES["x-custom-token"], "Cookie": f"theme=dark; session={CANARIES['cookie']}"}


def made(dialect: Dialect, origin: str, **options: Any) -> Provider:
    """Make a provider with a key in every place that can hold one."""
    options.setdefault("api_key", API_KEY)
    options.setdefault("headers", HEADERS)
    options.setdefault("base_url", f"{origin}{dialect.wire.root}?api-version=1&key={CANARIES['query']}")
    options.setdefault("timeout", Timeout(connect=5, first=5, idle=5))
    return dialect.provider(origin, **options)


def failed(dialect: Dialect, provider: Provider, kind: type[BaseException] = StreamError, **options: Any) -> Any:
    """Ask, and give the error; this frame holds no key."""
    with pytest.raises(kind) as caught:
        list(dialect.stream(provider, **options))
    return caught.value


def assert_nothing_shows(
    dialect: Dialect, provider: Provider, capfd: Any, *, rich: bool = False, kind: type[BaseException] = StreamError
) -> Any:
    """Ask what fails, and look at all that shows of it, and at every object that took part; give the error."""
    seen: list[tuple[str, str]] = []
    with Ear() as ear:
        error = failed(dialect, provider, kind)
        stream = dialect.stream(provider, on_error="chunk")
        seen += [("an ERROR chunk", repr(chunk.to_event())) for chunk in stream]
        told = capfd.readouterr()
    assert_hidden([*shown_by(error, rich=rich), *seen, *ear.heard, ("stdout", told.out), ("stderr", told.err)])
    for thing in (provider, provider.dialect, provider._transport, stream, stream._turn, stream._turn.watch):
        assert_hidden(state(thing))
    return error


def assert_nothing_shows_of(error: BaseException, capfd: Any) -> None:
    """Look at an error alone, and at what was printed."""
    told = capfd.readouterr()
    assert_hidden([*shown_by(error), ("stdout", told.out), ("stderr", told.err)])


def proxied(port: int) -> str:
    """Give a proxy's URL with credentials."""
    return f"http://someone:{CANARIES['proxy']}@127.0.0.1:{port}"
