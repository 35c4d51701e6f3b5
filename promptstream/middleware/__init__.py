"""Layers around a provider's call: ready-made ones, and what it takes to write one.

A middleware is a generator function. It is called for each round of a turn with the request and with ``call_next``,
which asks the next layer, or the provider; what it yields goes out. Before, each chunk, errors and clean-up are all
in one place::

    def timed(request, call_next):
        began = time.monotonic()
        today = Message("system", f"Today is {date.today()}.")
        request = attrs.evolve(request, messages=(today, *request.messages))
        try:
            for chunk in call_next(request):
                metrics["characters"] += len(chunk.text)
                yield chunk
        finally:
            metrics["seconds"] += time.monotonic() - began

    promptstream.chat(middleware=[timed, middleware.logging()])

The first of the list is the outermost. Beside text, chunks of the types FINISH and OPAQUE pass, which carry what the
provider told: yield them on, or leave them out, which does no harm. Make a new chunk by ``attrs.evolve`` rather than
changing one. A middleware that stops early says so by ``yield finish("stop")``; otherwise the answer counts as cut.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from promptstream.middleware.onion import CallNext, Middleware, finish

if TYPE_CHECKING:
    from promptstream.middleware.check import Check
    from promptstream.middleware.guard import guard
    from promptstream.middleware.log import logging
    from promptstream.middleware.recorder import Recorder
    from promptstream.middleware.redact import redact
    from promptstream.middleware.telemetry import telemetry

__all__ = ["CallNext", "Check", "Middleware", "Recorder", "finish", "guard", "logging", "redact", "telemetry"]

_READY = {"Check": "check", "guard": "guard", "logging": "log", "redact": "redact", "telemetry": "telemetry"}
_READY |= {"Recorder": "recorder"}
"""The ready-made ones, and the modules they are loaded from when they are first asked for."""


class _Room(ModuleType):
    """Keep a name for the function where the module that it is loaded from has the same."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _READY and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Room


def __getattr__(name: str) -> Any:
    if name not in _READY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ready = getattr(import_module(f"{__name__}.{_READY[name]}"), name)
    globals()[name] = ready
    return ready


def __dir__() -> list[str]:
    return sorted({*globals(), *_READY})
