"""What the documents show, run as it stands: every block of the README and of every page in docs."""

from __future__ import annotations

import configparser
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import yaml
from documents import PAGES, ROOT, Block, anchors, blocks, blocks_of, links, read
from scenes import SCENES, Socket, set_up
from shell_lines import Shell

import promptstream
from promptstream.providers import registry

__all__ = ["ROOT", "blocks"]

SHOWN_ONLY = {"go", "javascript", "js", "jsx", "html", "css", "nginx", "dockerfile"}
"""Languages that nothing here can run; the web page's own tests run the JavaScript of its page."""
READ = {
    "ini": lambda text: configparser.ConfigParser().read_string(text),
    "json": json.loads,
    "toml": tomlkit.parse,
    "yaml": yaml.safe_load,
}
"""Languages that are read, and how."""
LONGER = {"architecture", "best_practices", "middleware", "providers", "reliability", "state", "traps"}
"""Pages of reference, which may be longer than a cup of coffee lasts."""
NO_PITFALLS = LONGER | {"index", "send_or_stream", "glossary"}


class Player:
    """Play the blocks of a page in order, in *folder*, and hold each to what the page shows of it."""

    def __init__(self, folder: Path, fresh: Any = None) -> None:
        self.folder = folder
        self.fresh = fresh
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.shell = Shell(folder)
        self.shown: str | None = None
        """What the block before printed; None where nothing was run."""

    def play(self, block: Block) -> None:
        """Run, read or compare a block."""
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.language == "text":
            self._compare(block)
            return
        self.shown = None
        if block.language == "python":
            self.shown = self._python(block)
        elif block.language == "sh":
            self.shown = self._lines(block)
        elif block.language == "console":
            self._console(block)
        elif block.language in READ:
            READ[block.language](block.text)
            if block.language == "json" and block.title.endswith(".pack.json"):
                promptstream.load(self.folder / block.title)
        else:
            assert block.language in SHOWN_ONLY, f"{block.place}: nobody here knows the language {block.language!r}"

    def _python(self, block: Block) -> str:
        names = self.names if self.fresh is None else self.fresh()
        code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code, names)
        return printed.getvalue()

    def _lines(self, block: Block) -> str | None:
        lines = re.sub(r"\\\n *", "", block.text).splitlines()
        shown = [self.shell.line(line, block.place) for line in lines if line.strip()]
        ran = [each for each in shown if each is not None]
        return "".join(ran) if ran else None

    def _console(self, block: Block) -> None:
        """Play lines that begin with "$ ", each followed by what it shows."""
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            line, _, expected = part.partition("\n")
            shown = self.shell.line(line, block.place)
            if shown is not None and expected.strip():
                same(shown, expected, block.place)

    def _compare(self, block: Block) -> None:
        assert not block.gap.strip() or self.shown is not None, (
            f"{block.place}: a text block shows what the block before it prints; a drawing is indented by four spaces"
        )
        if self.shown is not None:
            same(self.shown, block.text, block.place)
            self.shown = None


def same(shown: str, expected: str, place: str) -> None:
    """Make sure that a page shows what came out; "…" stands for anything within a line."""
    there = [line.rstrip() for line in shown.strip("\n").split("\n")]
    told = [line.rstrip() for line in expected.strip("\n").split("\n")]
    matching = [
        re.fullmatch(re.escape(pattern).replace("…", ".*"), line) for pattern, line in zip(told, there, strict=False)
    ]
    assert len(told) == len(there), f"{place}: it prints\n{shown}"
    assert all(matching), f"{place}: it prints\n{shown}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch):
    """A reader who pastes them one after the other sees each of them work, and what the page says is shown."""
    with set_up(page, tmp_path, monkeypatch) as scene:
        player = Player(tmp_path, scene.fresh)
        for block in blocks_of(page, read(page)):
            player.play(block)


def test_every_scene_is_of_a_page():
    """A page that is renamed takes its scene along."""
    assert set(SCENES) <= set(PAGES)


WRONG = {
    "a program that fails": "```python\nnothing_of_that_name\n```\n",
    "another output": "```python\nprint(1)\n```\n\n```text\n2\n```\n",
    "output of nothing": "Some words.\n\n```text\n2\n```\n",
    "a flag that is not there": '```sh\npromptstream ask "Hi" --loud\n```\n',
    "a command that is not there": "```sh\npromptstream sing\n```\n",
    "a command that fails": "```sh\npromptstream ask Hi --timeout never\n```\n",
    "a program nobody knows": "```sh\nfrobnicate now\n```\n",
    "an extra that is not there": "```sh\npip install 'promptstream-sdk[sound]'\n```\n",
    "a variable that nobody reads": "```sh\nexport OPENAI_API_KEYS=sk-…\n```\n",
    "a console with another output": "```console\n$ promptstream ask Hi\nHello.\n```\n",
    "JSON that is none": "```json\n{,}\n```\n",
    "a language nobody knows": "```brainfuck\n+\n```\n",
    "a fence without a language": "```\n+\n```\n",
}


@pytest.mark.parametrize("why", WRONG)
def test_a_page_that_is_wrong_is_found_out(why, tmp_path, monkeypatch):
    """No block passes unseen: of another language, with another output, or with a flag that is not there."""
    *before, wrong = blocks_of("docs/wrong.md", WRONG[why])
    with set_up("docs/wrong.md", tmp_path, monkeypatch):
        player = Player(tmp_path)
        for block in before:
            player.play(block)
        with pytest.raises((AssertionError, NameError, ValueError)):
            player.play(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page):
    """Files are there, and so are the headings that a link names."""
    for path, anchor in links(read(page)):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {path}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page}: {path}#{anchor}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.count("/") == 1])
def test_a_page_is_short_and_tells_its_pitfalls(page):
    """None takes longer than a cup of coffee, or leads astray."""
    text = read(page)
    name = Path(page).stem
    assert text.count("\n") < 150 or name in LONGER
    assert "\n## Pitfalls\n" in text or name in NO_PITFALLS


# What single pages promise


def test_the_readme_is_short():
    """A promise, an example of eight lines, two commands, five recipes, links."""
    assert read("README.md").count("\n") < 200
    assert len(blocks("README.md")[0].strip().splitlines()) <= 8


def test_what_the_readme_shows_arrives(tmp_path, monkeypatch):
    """The first program shows the answer and its figures; the recipe for a socket sends the library's events."""
    with set_up("README.md", tmp_path, monkeypatch) as scene:
        first, *rest = [block for block in blocks_of("README.md", read("README.md")) if block.language == "python"]
        shown = Player(tmp_path, scene.fresh)._python(first)
        assert shown.startswith("Once upon a time.\nCost: ")
        names = scene.fresh()
        exec(next(block.text for block in rest if "iter_events" in block.text), names)
        socket = names["websocket"]
    assert isinstance(socket, Socket)
    assert [event["type"] for event in socket.sent] == ["content", "content", "done"]


def test_the_providers_page_is_true():
    """Its table has every provider with its keys and default model."""
    text = read("docs/providers.md")
    rows = {
        row.split("`")[1]: row for row in text.partition("\n\n`promptstream providers`")[0].splitlines() if "`" in row
    }
    assert set(rows) == set(registry.BUILT_IN)
    for name, entry in registry.BUILT_IN.items():
        for key in (*entry.keys, *([entry.url_variable] if entry.url_variable else [])):
            assert f"`{key}`" in text, key
        default = getattr(entry.dialect(), "default_model", "")
        assert default[:12] in rows[name], name


def test_every_provider_has_a_page():
    """How to set up and use each of them, with its key."""
    for name, entry in registry.BUILT_IN.items():
        text = read(f"docs/providers/{name}.md")
        assert "## Pitfalls" in text
        for key in entry.keys:
            assert key in text


def test_the_page_of_packs_names_every_validator_and_every_key():
    """Its tables have all types that run, with their other names, and all that a pack and a prompt may hold."""
    from promptstream.packs import schema, validators

    text = read("docs/packs.md")
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

    text = read("docs/tools.md")
    for field in attrs.fields(promptstream.ToolPolicy):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{field.name}`")]
        if isinstance(field.default, int):
            assert f"| {field.default} |" in row
