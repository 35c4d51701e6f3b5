"""A notebook's kernel, and what its cells show while an answer comes in."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from openai_server import PATIENCE, ROOT, Answer, OpenAIServer, basic

import promptstream
from promptstream import bars
from promptstream.errors import StateError
from promptstream.notebook import show
from promptstream.providers import Scripted

EXAMPLE = ROOT / "examples" / "notebook" / "notebook.ipynb"
FIGURES = re.compile(r"^\S+ \| Cost: .*$", re.M)
BEGIN = """
import sys, threading
import promptstream
from promptstream import Chunk, ChunkType, ToolCall, bars, errors
from promptstream.notebook import show
from promptstream.providers import Scripted

def script(*turns, **options):
    return promptstream.chat(provider=Scripted(turns), **options)
"""


class Kernel:
    """Run cells in one kernel, and give what they show."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self.cell: Any = None

    def run(self, source: str) -> list[Any]:
        """Run a cell to its end and give its outputs, of which an error is one."""
        import nbformat

        cell = nbformat.v4.new_code_cell(source)
        self.cell = cell
        self._client.nb.cells.append(cell)
        self._loop.run_until_complete(self._client.async_execute_cell(cell, len(self._client.nb.cells) - 1))
        return list(cell.outputs)

    def interrupt_at(self, text: str) -> None:
        """Do what the notebook's stop button does, once the cell that runs shows *text*."""
        until = monotonic() + PATIENCE
        while text not in "".join(map(told, self.cell.outputs)) and monotonic() < until:
            sleep(0.005)
        os.kill(self._client.km.provisioner.process.pid, signal.SIGINT)

    def texts(self, source: str) -> list[str]:
        """Run a cell and give its outputs as plain text: displays, prints, and the line that an error ends with."""
        return [told(output) for output in self.run(source)]


def told(output: Any) -> str:
    """Give an output as plain text."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return str(output.data["text/plain"])


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for all, without keys, that knows this library."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (it comes with the extra test)")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (it comes with the extra test)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (it comes with the extra test)")
    folder = str(tmp_path_factory.mktemp("kernel"))
    env = basic({"HOME": folder, "IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder, "PYTHONWARNINGS": ""})
    notebook = nbformat.v4.new_notebook()
    client = nbclient.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", allow_errors=True)
    client.record_timing = False
    loop = asyncio.new_event_loop()  # nbclient's own is left open

    async def hosted() -> AsyncIterator[Kernel]:
        async with client.async_setup_kernel(env=env, cwd=str(ROOT), stderr=subprocess.DEVNULL):
            yield Kernel(client, loop)

    host = hosted()
    try:
        made = loop.run_until_complete(anext(host))
        assert made.run(BEGIN) == []
        yield made
    finally:
        loop.run_until_complete(host.aclose())
        loop.close()


def test_text_is_shown_as_markdown_in_one_display(kernel: Kernel) -> None:
    """It grows in place; its HTML is the renderer's, what is markup in it stays text, and the figures stand below."""
    text, below = kernel.run("response = show(script(['# Hi', '\\n\\n', '*you* <script>x</script>']).stream('Hello'))")
    assert "<h1>Hi</h1>" in text.data["text/html"]
    assert "<em>you</em> &lt;script&gt;" in text.data["text/html"]
    assert text.data["text/plain"] == "# Hi\n\n*you* <script>x</script>"
    assert below.data["text/plain"].startswith("scripted | Cost: $0.0000 | First text: ")
    assert kernel.texts("print(response.text, response.complete)") == ["# Hi\n\n*you* <script>x</script> True\n"]


def test_the_last_line_of_a_cell_is_not_shown_twice(kernel: Kernel) -> None:
    """What show gives is the answer, which the cell shows already; another cell shows it again."""
    outputs = kernel.run("show(script('Hi').stream('Hello'), figures=False)")
    assert [output.output_type for output in outputs] == ["display_data"]
    (again,) = kernel.run("_")
    assert again.output_type == "execute_result"
    assert "Hi" in again.data["text/html"]


def test_what_is_shown_grows_while_the_answer_comes_in(kernel: Kernel) -> None:
    """Each look has more of it, and there are few of them, however many chunks come."""
    shown = kernel.texts(
        """
seen = []
import IPython.display as front
update = front.DisplayHandle.update
front.DisplayHandle.update = lambda self, data, **more: (seen.append(data["text/plain"]), update(self, data, **more))
pieces = ["word "] * 100 + [bars.EVERY * 1.5] + ["word "] * 100 + [bars.EVERY * 1.5] + ["end"]
_ = show(script(pieces).stream("Hello"))
front.DisplayHandle.update = update
texts = [text for text in seen if text.startswith("word")]
print(len(texts) < 12, sorted(map(len, texts)) == list(map(len, texts)), len(set(texts)) >= 3)
"""
    )
    assert shown[-1] == "True True True\n"


def test_waiting_is_told_until_something_comes(kernel: Kernel) -> None:
    """An empty cell looks broken; the line goes once there is more to show."""
    shown = kernel.texts(
        """
handles, display = [], front.display
front.display = lambda data, **more: (handles.append(data["text/plain"]), display(data, **more))[1]
_ = show(script("Hi").stream("Hello"), figures=False)
front.display = display
print(handles)
"""
    )
    assert shown == ["Hi", "['Waiting for the model… 0 s']\n"]


def test_thoughts_and_calls_are_folded_where_they_came(kernel: Kernel) -> None:
    """In their order, each in its own display: a reader who unfolds one finds it so."""
    outputs = kernel.run(
        """
@promptstream.tool
def look_up(city: str) -> str:
    "Look up."
    return "12 <b>"
conv = script(
    [Chunk(ChunkType.REASONING, reasoning="Hm. "), Chunk(ChunkType.REASONING, reasoning="So."), "I look.",
     Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall("c1", "look_up", None, '{"ci')),
     ToolCall("c1", "look_up", {"city": "Oslo"})],
    "It is 12.", tools=[look_up])
answer = show(conv.stream("Weather?"))
"""
    )
    thoughts, text, call, more, _ = outputs
    assert thoughts.data["text/html"].count("<details") == call.data["text/html"].count("<details") == 1
    assert "Hm. So." in thoughts.data["text/html"]
    assert told(text) == "I look."
    assert told(call) == "→ look_up(city='Oslo')\n← 12 <b>"
    assert "12 &lt;b&gt;" in call.data["text/html"]
    assert told(more) == "It is 12."
    assert kernel.texts(
        "r = show(script([Chunk(ChunkType.REASONING, reasoning='x'), 'y']).stream('q'), reasoning=False, figures=False)"
    ) == ["y"]


def test_an_interrupt_hangs_up_and_keeps_what_came(kernel: Kernel) -> None:
    """The provider sees it at once; cell and conversation keep the part, marked; the cell ends as interrupted."""
    with OpenAIServer(["Half an ", "answer", threading.Event()]) as server:
        source = f"""
conv = promptstream.chat(provider="compatible", base_url={server.url!r}, model="toy")
stream = conv.stream("Hello")
answer = show(stream)
print("never")
"""
        outputs: list[Any] = []
        runs = threading.Thread(target=lambda: outputs.extend(kernel.run(source)))
        runs.start()
        assert server.asked.wait(PATIENCE)
        kernel.interrupt_at("Half an answer")
        assert server.hung_up.wait(PATIENCE)
        runs.join(PATIENCE)
    assert outputs[-1].output_type == "error"
    assert outputs[-1].ename == "KeyboardInterrupt"
    assert len(outputs[-1].traceback) < 6
    assert "Stopped: this is what had come." in told(outputs[-2])
    assert "never" not in "".join(map(told, outputs))
    asked = "print(conv.messages[-1].text, conv.messages[-1].finish_reason, stream.response.finish_reason)"
    assert kernel.texts(asked) == ["Half an answer cancelled cancelled\n"]
    assert told(outputs[0]) == "Half an answer"
    assert kernel.texts("1 + 1") == ["2"]


def test_an_error_is_shown_below_what_came_and_raised(kernel: Kernel) -> None:
    """The text stays, the error is told as it is, and its traceback is the cell's."""
    with OpenAIServer(Answer("Once", finish=None)) as server:
        outputs = kernel.run(
            f"conv = promptstream.chat(provider='compatible', base_url={server.url!r}, model='toy')\n"
            "show(conv.stream('Hello'))"
        )
    text, below, error = outputs
    message = "Truncated: The answer was cut: it ended without the provider's finish signal."
    assert told(text) == "Once"
    assert told(below).startswith(f"{message}\n")
    assert 'role="alert"' in below.data["text/html"]
    assert told(error) == message
    assert len(error.traceback) < 6
    shown = kernel.texts("r = show(script(['x', errors.Truncated('cut <b>')]).stream('q', on_error='chunk'))\nprint(1)")
    assert shown[0] == "x"
    assert shown[1].startswith("Truncated: cut <b>\n")
    assert shown[2] == "1\n"


def test_a_stream_that_was_read_already_is_shown_as_it_is(kernel: Kernel) -> None:
    """Whole, begun, failed or buffered: what came before stands before what comes, and nothing is sent again."""
    shown = kernel.texts(
        """
stream = script(["a", "b"]).stream("q"); stream.result(); r = show(stream, figures=False)
stream = script(["c", "d"]).stream("q"); chunks = iter(stream); next(chunks); r = show(stream, figures=False)
r = show(script(["e", "f"]).stream("q").buffered(), figures=False)
buffered = script(["g", "h"]).stream("q").buffered(); buffered.result(); r = show(buffered, figures=False)
stream = script(["i", errors.Truncated("cut")]).stream("q", on_error="chunk")
list(stream); r = show(stream, figures=False)
"""
    )
    assert shown[:4] == ["ab", "cd", "ef", "gh"]
    assert shown[4:] == ["i", "Truncated: cut"]


def test_text_is_shown_as_it_is_on_request(kernel: Kernel) -> None:
    """Without Markdown nothing is read as such, and the extra is not needed; with it, its absence is told first."""
    (output,) = kernel.run("r = show(script('*a*\\n<b>').stream('q'), markdown=False, figures=False)")
    assert "*a*\n&lt;b&gt;" in output.data["text/html"]
    shown = kernel.texts(
        """
import promptstream.notebook as module
available, module.available = module.available, lambda: False
conv = script("never")
try:
    show(conv.stream("q"))
except errors.ConfigError as error:
    print(error, len(conv.provider.requests))
module.available = available
"""
    )
    assert shown[0].startswith("Markdown is read by markdown-it-py: pip install 'promptstream-sdk[notebook]'")
    assert shown[0].endswith(" 0\n")


def test_a_bar_is_drawn_in_the_notebook(kernel: Kernel) -> None:
    """For one answer and for many; it says so where it did not come to its end."""
    (one,) = kernel.run("r = script(['Hello', ' you']).send('q', progress=True)")
    assert '<progress value="1" max="1"' in one.data["text/html"]
    assert told(one).startswith("9 characters, ")
    (many,) = kernel.run("from promptstream.progress import track\nfor _ in track(range(3), description='<b>'): pass")
    assert '<progress value="3" max="3"' in many.data["text/html"]
    assert "&lt;b&gt;: 3 of 3" in many.data["text/html"]
    assert kernel.texts("for _ in track(range(3)): break") == ["0 of 3, 0 s – stopped"]


def test_bars_within_a_bar_take_turns_in_one_display(kernel: Kernel) -> None:
    """However many prompts a loop sends, the cell has two outputs, and the inner one is empty in the end."""
    loop = "conv = script(*['Hi'] * 20)\nfor q in track(range(20)): conv.send('q', progress=True)"
    outer, inner = kernel.texts(f"from promptstream.progress import track\n{loop}")
    assert outer.startswith("20 of 20, ")
    assert inner == ""
    assert len(kernel.texts("conv = script('a', 'b')\nfor _ in 'ab': conv.send('q', progress=True)")) == 2
    left = "kept = track(range(2)); _ = next(kept)"
    assert kernel.texts(left) == ["0 of 2, 0 s"]
    assert kernel.texts("r = script('Hi').send('q', progress=True)")[0].startswith("2 characters, ")
    kernel.run("kept.close()")


def test_no_thread_is_left(kernel: Kernel) -> None:
    """What painted has ended with what it painted."""
    assert kernel.texts("print([t.name for t in threading.enumerate() if 'painter' in t.name])") == ["[]\n"]


def test_the_example_shows_what_it_shows(kernel: Kernel) -> None:
    """Its cells run without a key, and its outputs are those of a run."""
    notebook = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 6
    for cell in cells:
        shown = [stable(text) for text in kernel.texts("".join(cell["source"]))]
        assert shown == [stable(kept(output)) for output in cell["outputs"]]


def kept(output: dict[str, Any]) -> str:
    """Give an output of a notebook's file as plain text."""
    return "".join(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])


def stable(text: str) -> str:
    """Give *text* without what is another in each run."""
    return re.sub(r"conv_\d+|[\d.]+ s\b", "…", FIGURES.sub("…", text))


# Outside of a notebook


def test_outside_of_a_notebook_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Text as it comes, thoughts and calls beside it, and nothing that steers a terminal."""

    def add(a: int) -> int:
        """Add one."""
        return a + 1

    thought = promptstream.Chunk(promptstream.ChunkType.REASONING, reasoning="Hm.")
    turns = [[thought, "I \x1b[31madd", promptstream.ToolCall("c1", "add", {"a": 1})], ["It is 2."]]
    conv = promptstream.chat(provider=Scripted(turns), tools=[add])
    response = show(conv.stream("1 + 1?"))
    out = capsys.readouterr().out
    assert out.startswith("[thinks]\nHm.\n[answers]\nI add\n→ add(a=1)\n← 2\nIt is 2.\nscripted | Cost: $0.0000 | ")
    assert response.text == "I \x1b[31maddIt is 2."
    show(Scripted([[thought, "x"]]).stream("Hi"), reasoning=False, figures=False)
    assert capsys.readouterr().out == "x\n"


def test_outside_of_a_notebook_an_error_is_told_and_raised(capsys: pytest.CaptureFixture[str]) -> None:
    """After the text that had come; a stream that ended so is shown so again."""
    stream = Scripted([["Half", promptstream.errors.Truncated("cut")]]).stream("Hi")
    for _ in range(2):
        with pytest.raises(promptstream.errors.Truncated, match="cut"):
            show(stream, figures=False)
        assert capsys.readouterr().out == "Half\n[Truncated: cut]\n"


def test_in_a_terminal_of_ipython_it_is_not_shown_twice(tmp_path: Path) -> None:
    """As the last line of a cell it leaves a word where the whole answer would stand again."""
    pytest.importorskip("IPython", reason="IPython is not installed (it comes with the extra notebook)")
    cells = [*BEGIN.splitlines(), "", "show(script('Hi').stream('q'), figures=False)", "_", "exit"]
    env = basic({"HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "TERM": "dumb"})
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    done = subprocess.run(command, input="\n".join(cells), env=env, capture_output=True, text=True, timeout=PATIENCE)
    first, second = done.stdout.partition("<Response, shown above>")[::2]
    assert first.count("Hi") == 1
    assert "Response(text='Hi'" in second


def test_an_interrupt_is_raised_outside_of_a_notebook_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the stream wherever it strikes, and the conversation keeps the part."""

    class Struck(io.StringIO):
        struck = False

        def flush(self) -> None:
            if self.getvalue() and not self.struck:
                self.struck = True
                raise KeyboardInterrupt

    out = Struck()
    monkeypatch.setattr(sys, "stdout", out)
    conv = promptstream.chat(provider=Scripted([["Half", " an answer"]]))
    with pytest.raises(KeyboardInterrupt):
        show(conv.stream("Hi"), figures=False)
    monkeypatch.undo()
    assert out.getvalue() == "Half\n[Stopped: this is what had come.]\n"
    assert (conv.messages[-1].text, conv.messages[-1].finish_reason) == ("Half", "cancelled")


def test_only_a_stream_is_shown() -> None:
    """A conversation or a text is refused with the way it is done; a stream that another reads is left alone."""
    with pytest.raises(TypeError, match=r"show\(conv.stream"):
        show("Hello")  # type: ignore[arg-type]
    stream = Scripted([["Hi", 60.0]]).stream("Hi")
    with stream.buffered() as buffered:
        assert str(buffered.get()) == "Hi"
        with pytest.raises(StateError, match="buffered"):
            show(stream)
        assert not buffered.response.finish_reason
    assert not bars.in_notebook()


def test_the_example_names_no_place_of_this_machine() -> None:
    """What is kept of its run is the same wherever it ran."""
    assert str(Path.home()) not in EXAMPLE.read_text(encoding="utf-8")
