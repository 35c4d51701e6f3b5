"""What the documents show, run as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from openai_server import ROOT, OpenAIServer
from provider_server import ProviderServer
from wires import WIRES

import promptstream
from promptstream.providers import registry


def blocks(name: str) -> list[str]:
    """Give the Python blocks of a document, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)


class Socket:
    """Stand in for a WebSocket."""

    def __init__(self) -> None:
        self.sent: list[dict] = []

    def send(self, text: str) -> None:
        """Keep a message, which must be JSON."""
        self.sent.append(json.loads(text))


@pytest.fixture
def openai(monkeypatch):
    """A loopback OpenAI, configured as a user's environment would."""
    with OpenAIServer(["Once upon ", "a time."]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def test_every_block_of_the_readme_runs(openai, monkeypatch, capsys):
    """What a newcomer pastes works, and shows the answer."""
    for name in ("ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-test")
    monkeypatch.chdir(ROOT / "examples" / "hello")
    first, *recipes = blocks("README.md")
    exec(first, {})
    shown = capsys.readouterr().out
    assert "Once upon a time." in shown
    assert "First text:" in shown
    websocket = Socket()
    for recipe in recipes:
        with promptstream.chat() as conv:
            exec(recipe, {"promptstream": promptstream, "json": json, "conv": conv, "websocket": websocket})
    assert [event["type"] for event in websocket.sent] == ["content", "content", "done"]


def test_the_readme_is_short_and_its_links_lead_somewhere():
    """A promise, an example of eight lines, two commands, five recipes, links."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") < 200
    assert len(blocks("README.md")[0].strip().splitlines()) <= 8
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / Path(target)).exists(), target


def test_a_provider_is_added_as_the_architecture_page_says(capsys):
    """The page's class can be registered, opened by name, and tested with bytes alone."""
    adding, testing = blocks("docs/architecture.md")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXAMPLE_API_KEY", "sk-example")
        patch.setattr(registry, "_registered", {})  # what is registered here is forgotten after
        names: dict = {}
        exec(adding, names)
        names["conv"].close()
        assert names["conv"].provider.model == "example-1"
        exec(testing, names)
    assert "Hi" in capsys.readouterr().out


def test_the_providers_page_is_true(monkeypatch):
    """Its table has every provider with its keys and default model, and its program runs."""
    text = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    rows = {
        row.split("`")[1]: row for row in text.partition("\n\n`promptstream providers`")[0].splitlines() if "`" in row
    }
    assert set(rows) == set(registry.BUILT_IN)
    for name, entry in registry.BUILT_IN.items():
        for key in (*entry.keys, *([entry.url_variable] if entry.url_variable else [])):
            assert f"`{key}`" in text, key
        default = getattr(entry.dialect(), "default_model", "")
        assert default[:12] in rows[name], name
    with ProviderServer(WIRES["openrouter"], "Hello") as server:
        monkeypatch.setenv("OPENROUTER_API_KEY", "key-0123456789abcdef")
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.url)
        for block in blocks("docs/providers.md"):
            exec(block, {})
