"""A page in, what its blocks need out: loopback providers that answer by a script, files, a terminal's input."""

from __future__ import annotations

import builtins
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
import stand_in_ray
from documents import ROOT
from provider_server import ProviderServer, Scripted
from wires import WIRES
from wires.base import KEY
from wires.script import Answer, Think, Use

import promptstream
from promptstream.providers import registry
from promptstream.providers.local.dialect import LocalDialect
from promptstream.values.secret import Secret


def said(*texts: str) -> tuple[Answer, ...]:
    """Give an answer for each text, in two deltas."""
    return tuple(Answer(re.split(r"(?<=\w)(?= )", text, maxsplit=1)) for text in texts)


def calls(name: str, arguments: str) -> Answer:
    """Give an answer that calls a tool."""
    return Answer([Use("call_1", name, arguments)], "tool_calls")


STORY = Answer(["Once upon ", "a time."])
WEATHER = calls("weather", '{"city": "Bergen"}')


class Socket:
    """Stand in for a WebSocket."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        """Keep a message, which must be JSON."""
        self.sent.append(json.loads(text))


@attrs.frozen(eq=False)
class Scene:
    """What a page is played in. Without an entry in SCENES it is this one: every provider tells the same story."""

    answers: tuple[Scripted, ...] = (STORY,)
    """What the provider of the page says, in order, the last one again and again."""
    wire: str = "openai"
    typed: tuple[str, ...] = ()
    """What the reader types where a program asks."""
    files: tuple[tuple[str, str], ...] = ()
    """Files that are there, as (path in the repository, name)."""
    fresh: Callable[[], dict[str, Any]] | None = None
    """Gives what each block finds; None where they share one namespace that begins empty."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables; "{url}" is the address of the page's provider."""
    modules: tuple[tuple[str, ModuleType], ...] = ()
    """Packages that are not installed, and what stands in for them."""


def readme() -> dict[str, Any]:
    """Give what each recipe of the README finds: a conversation, and a socket."""
    return {"promptstream": promptstream, "json": json, "websocket": Socket(), "conv": promptstream.chat()}


def reliability() -> dict[str, Any]:
    """Give what each program of the page on reliability finds: a conversation that plays a story."""
    script = [["Once", " upon", " a time."]] * 9
    return {"promptstream": promptstream, "conv": promptstream.chat(provider=promptstream.providers.Scripted(script))}


def how_to(name: str) -> Scene:
    """Make the scene of a page on one provider: a story, thoughts and an answer, a call of a tool and an answer."""
    wire = name if name in WIRES else "compatible"
    thinking = Answer([Think("9 is larger than 8. "), "9.8 is larger."])
    variables = (("MY_SERVER", "{url}"), ("PROMPTSTREAM_API_KEY", KEY)) if name == "compatible" else ()
    stories = (STORY,) if name == "local" else (STORY, STORY)  # to the program, and to the command line
    return Scene((*stories, thinking, WEATHER, "It rains in Bergen."), wire, variables=variables)


FIRST = said(
    "Hello, it is nice here.",
    "The capital of France is Paris.",
    "Ada Lovelace wrote it, in 1843.",
    "Your name is Ada.",
)
STREAMED = (
    *said("A robot found a flower, and sat down beside it.", "Hello there."),
    *said("Roses are read,\nviolets are data.", "AI is software that learns from examples."),
    *said("Hello, Ada.", "You are Ada."),
    Answer(["Here is", " the"], finish=None),
)
TOOLS = (
    WEATHER,
    *said("Yes: it rains in Bergen."),
    calls("weather", '{"city": "Oslo"}'),
    *said("In Oslo, too."),
    calls("weather", '{"city": "Atlantis"}'),
    *said("I cannot tell: there is no station in Atlantis."),
    calls("refund", '{"order": 7, "euros": 50}'),
    *said("Done: 50 euros are on their way."),
)
KEPT = said(
    "Your order is on its way, Ada.",
    "Oil the chain.",
    "Oil the chain, then.",
    "Then it should be quiet now.",
    "Oil it.",
    "Well done.",
)
SCENES = {
    "docs/tutorials/first_conversation.md": Scene(FIRST),
    "docs/tutorials/streaming.md": Scene(STREAMED, typed=("Hello, I am Ada.", "Who am I?", "quit")),
    "docs/tutorials/tools.md": Scene(TOOLS),
    "docs/tutorials/variables_and_state.md": Scene(KEPT),
    "README.md": Scene(fresh=readme, files=(("examples/hello/hello.pack.json", "hello.pack.json"),)),
    "docs/reliability.md": Scene(fresh=reliability),
    "docs/architecture.md": Scene(variables=(("EXAMPLE_API_KEY", "sk-example"),)),
    "docs/batch_machines.md": Scene(modules=(("ray", stand_in_ray),)),
    "docs/state.md": Scene(files=(("examples/streaming/streaming.pack.json", "storyteller.pack.json"),)),
    "docs/providers.md": Scene(("Hello",), "openrouter"),
    "docs/migration/openai.md": Scene(said("Paris.", "Oslo.", "Copenhagen.")),
    "docs/migration/anthropic.md": Scene(
        (Answer([Think("0.8 is more than 0.11."), "9.8."]), WEATHER, "It rains."), "anthropic"
    ),
    **{
        f"docs/providers/{name}.md": how_to(name)
        for name in ("openai", "anthropic", "gemini", "openrouter", "qwen", "ollama", "compatible", "local")
    },
}
"""The pages that need something besides."""


@contextmanager
def set_up(page: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Have a page's scene stand, in *folder*, as long as the block lasts."""
    scene = SCENES.get(page, Scene())
    patch.chdir(folder)
    for name, below in (("HOME", ""), ("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data")):
        patch.setenv(name, str(folder / below))
    for source, name in scene.files:
        shutil.copy(ROOT / source, folder / name)
    for name, module in scene.modules:
        patch.setitem(sys.modules, name, module)
    (folder / "examples").symlink_to(ROOT / "examples")
    patch.setattr(registry, "_registered", dict(registry._registered))  # what a page registers is forgotten after
    patch.setattr(builtins, "input", typing(scene.typed))
    with ExitStack() as stack:
        for name, wire in WIRES.items():
            answers = scene.answers if name == scene.wire else (STORY,)
            server = stack.enter_context(ProviderServer(wire, *answers))
            if name != "openai-responses":
                for variable, value in server.environment().items():
                    patch.setenv(variable, value)
            if name == scene.wire:
                for variable, value in scene.variables:
                    patch.setenv(variable, value.format(url=server.url))
            if name == "compatible":
                embed(patch, server.url)
        yield scene


def embed(patch: pytest.MonkeyPatch, url: str) -> None:
    """Have the embedded model's server be the one at *url*."""

    def prepare(dialect: LocalDialect, watch: object) -> str:
        dialect.secret = Secret(KEY)
        dialect.base_url = url
        dialect._headers["Authorization"] = dialect.secret.prefixed("Bearer ")
        return url

    patch.setattr(LocalDialect, "prepare", prepare)


def typing(lines: tuple[str, ...]) -> Callable[[str], str]:
    """Give an ``input`` that reads *lines* and shows them, as a terminal would."""
    rest = iter(lines)

    def read(prompt: str = "") -> str:
        line = next(rest, None)
        if line is None:
            raise EOFError
        print(f"{prompt}{line}")
        return line

    return read
