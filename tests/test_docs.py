"""What the documents show, run as it stands."""

from __future__ import annotations

import json
import re
import shutil
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


def test_every_block_of_the_readme_runs(openai, monkeypatch, capsys, tmp_path):
    """What a newcomer pastes works, and shows the answer."""
    for name in ("ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-test")
    shutil.copy(ROOT / "examples" / "hello" / "hello.pack.json", tmp_path)
    monkeypatch.chdir(tmp_path)  # some keep files
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


PAGES = {
    "tools": ["It rains.", "Done.\n", "1.08\n"],
    "approval": ["You get 50 euros.", "You get 50 euros.\n50.00 euros paid back\n", "You get 80 euros.\n"],
    "long_conversations": [
        "6 messages are kept; ['What are whales?', 'Whales are mammals. ",
        "You are Ada. ['Summary of the conversation so far:\\n\\nThe user is Ada.', 'What are whales?', ",
        "['I am Ada.', 'Hello, Ada.', 'Who am I?']\n",
        "12 tokens, estimated\n",
    ],
    "structured_output": [
        "Ada Lovelace 1815\n",
        "{}\n{'name': 'Ada Love'}\n{'name': 'Ada Lovelace'}\n",
        "The answer is not what schema= asks for. $.name: 1815 is not a string\nPerson(name='Ada', born=None)\n",
    ],
    "packs": ["Greet Ada in French.\nBonjour, Ada !\n", "You help Ada of the shop. It is "],
}
"""Of each page: what its blocks print, or how that begins."""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page, capsys, monkeypatch, tmp_path):
    """A reader who pastes them one after the other sees each of them work, without a key or a network."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    printed = []
    for block in blocks(f"docs/{page}.md"):
        exec(block, names)
        printed.append(capsys.readouterr().out)
    assert [each[: len(begun)] for each, begun in zip(printed, PAGES[page], strict=True)] == PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short_and_its_links_lead_somewhere(page):
    """None takes longer than a cup of coffee, tells no pitfalls, or leads astray."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert text.count("\n") < 150
    assert "\n## Pitfalls\n" in text
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target


def test_the_page_of_packs_names_every_validator_and_every_key():
    """Its tables have all types that run, with their other names, and all that a pack and a prompt may hold."""
    from promptstream.packs import schema, validators

    text = (ROOT / "docs" / "packs.md").read_text(encoding="utf-8")
    for name in validators._TYPES:
        assert f"`{name}`" in text, name
    meta = {"$schema", "id", "name", "version", "description", "template_engine"}
    for key in {*schema._ROOT, *schema._PROMPT} - meta:
        assert re.search(rf"`[^`]*\b{key}\b[^`]*`", text), key
    for kind in ("email", "phone", "card", "iban", "ssn"):
        assert kind in text


def test_the_page_of_tools_names_every_limit_with_its_default():
    """The table of the policy is the policy."""
    import attrs

    text = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    for field in attrs.fields(promptstream.ToolPolicy):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{field.name}`")]
        if isinstance(field.default, int):
            assert f"| {field.default} |" in row


def test_every_block_of_the_page_on_state_runs(openai, capsys, monkeypatch, tmp_path):
    """It opens a pack, keeps conversations in a file, and shows a store of one's own."""
    shutil.copy(ROOT / "examples" / "streaming" / "streaming.pack.json", tmp_path / "storyteller.pack.json")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("docs/state.md"):
        exec(block, names)
    assert capsys.readouterr().out
    assert [len(request["messages"]) for request in openai.requests[:2]] == [2, 4]
