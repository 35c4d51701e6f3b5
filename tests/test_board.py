"""The bars of a terminal, and what is left there of all that is printed meanwhile."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from openai_server import PATIENCE
from screens import File, Screen

import promptstream
from promptstream.progress import track
from promptstream.providers import Scripted


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """Somebody watches; in the end nobody draws any more, and the streams are as they were."""
    made = Screen(monkeypatch)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    yield made
    assert [thread.name for thread in threading.enumerate() if "painter" in thread.name] == []
    assert type(sys.stderr).__name__ != "_Above"
    assert type(sys.stdout).__name__ != "_Above"


def gated(provider: Scripted, gate: threading.Event) -> promptstream.Conversation:
    """Give a conversation whose answers end once *gate* is open."""

    def middle(request: Any, following: Any) -> Iterator[Any]:
        for chunk in following(request):
            yield chunk
            if chunk.text:
                gate.wait(PATIENCE)

    return promptstream.chat(provider=provider, middleware=[middle])


def test_a_terminal_shows_a_bar_that_goes(terminal: Screen) -> None:
    """It stands below the line that is begun, which goes on where it was; nothing of the bar is left."""
    terminal.watch()
    gate = threading.Event()
    conv = gated(Scripted([["Hello \x1b[31m", "there."]]), gate)
    sys.stdout.write("Answer: ")
    asks = threading.Thread(target=lambda: print(conv.send("Hi", progress=True).text[:5]))
    asks.start()
    lines = terminal.seen("11 characters")
    assert lines[0].rstrip() == "Answer:"
    assert "━" in lines[1]
    gate.set()
    asks.join(PATIENCE)
    assert terminal.lines == ["Answer: Hello"]


def test_a_bar_in_a_bar_stands_below_it(terminal: Screen) -> None:
    """Each is drawn by the one that draws all; what is printed stands above, in its order."""
    terminal.watch()
    provider = Scripted([["Hello"]] * 3)
    gate = threading.Event()
    gate.set()
    conv = gated(provider, gate)
    told = []
    for number in track(range(3), description="Questions"):
        if number == 1:
            gate.clear()
            asks = threading.Thread(target=lambda: told.append(conv.send("Hi", progress=True).text))
            asks.start()
            first, blank, outer, inner = terminal.seen("5 characters")
            assert (first, blank) == ("0 Hello", "")
            assert "Questions: 1 of 3" in outer
            assert "5 characters" in inner
            gate.set()
            asks.join(PATIENCE)
        else:
            told.append(conv.send("Hi", progress=True).text)
        print(number, told[-1])
    assert terminal.lines == ["0 Hello", "1 Hello", "2 Hello"]
    assert len(terminal.written) < 20_000


def test_loops_in_loops_and_threads_share_the_screen(terminal: Screen) -> None:
    """However many bars there are, the first ones show, lines stay whole, and nothing is left."""
    terminal.watch()
    begun, gate = threading.Barrier(13), threading.Event()

    def work(number: int) -> None:
        for _ in track(range(1), description=f"Thread {number}"):
            begun.wait(PATIENCE)
            gate.wait(PATIENCE)
            for step in range(20):
                sys.stdout.write(f"{number} {step}\n")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE)
    shown = terminal.seen("… and 4 more")
    assert len([line for line in shown if "Thread" in line]) == 8
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(terminal.lines) == sorted(f"{n} {step}" for n in range(12) for step in range(20))


def test_text_that_is_written_piece_by_piece_stays_one_line(terminal: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows as it comes, whatever its width, and none of it is lost or broken."""
    terminal.watch()
    pieces = [f"w{number:03} " for number in range(100)] + ["漢字", "\t", "é", "\x1b[1mbold\x1b[0m"] * 20
    for _ in track([1, 2]):
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        assert "w099" in "".join(terminal.lines)
        sys.stdout.write("\n")
    plain = Screen(monkeypatch)
    plain.feed(("".join(pieces) + "\n") * 2)
    assert terminal.lines == plain.lines


def test_a_bar_stands_below_a_line_that_is_not_ended(terminal: Screen) -> None:
    """Also while the line grows; a line that fills its row keeps its last character."""
    terminal.watch()
    for _ in track([1]):
        print("begins")
        sys.stdout.write("Once upon")
        assert terminal.seen("0 of 1")[:2] == ["begins", "Once upon"]
        for _ in range(71):
            sys.stdout.write("x")
        assert terminal.lines == ["begins", "Once upon" + "x" * 71]
        sys.stdout.write(" a time")
        assert "0 of 1" in terminal.lines[3]
        assert terminal.lines[2] == " a time"
    assert terminal.lines == ["begins", "Once upon" + "x" * 71, " a time"]


def test_bars_step_aside_for_whoever_uses_the_terminal_itself(terminal: Screen) -> None:
    """input() and child processes ask for the file's number; the next line brings the bars back."""
    terminal.watch()
    for _ in track([1]):
        print("a")
        terminal.seen("0 of 1")
        assert sys.stdout.fileno() == 1
        assert terminal.lines == ["a"]
        print("b")
        assert "0 of 1" in terminal.seen("b")[-1]


def test_a_file_that_was_kept_can_be_written_to_later(terminal: Screen) -> None:
    """Such as a log's, made within the loop; it is the file itself but for that."""
    terminal.watch()
    for _ in track([1]):
        kept = sys.stderr
        assert kept.encoding == "utf-8"
    kept.writelines(["late", "\n"])
    assert terminal.lines == ["late"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_draws_bars_of_its_own(terminal: Screen) -> None:
    """It finds no lock that is held and no bar of its parent's; neither waits for the other."""
    terminal.watch()
    for _ in track([1]):
        print("parent")
        child = os.fork()
        if child == 0:
            try:
                whole = list(track([1, 2])) == [1, 2] and type(sys.stdout) is File
                print("child")
            finally:
                os._exit(0 if whole else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert terminal.lines == ["parent"]


def test_a_terminal_that_goes_away_does_no_harm(terminal: Screen) -> None:
    """The answer matters more than its bar."""
    terminal.watch()

    def steps() -> Iterator[int]:
        yield 1
        terminal.broken = True
        yield 2

    assert list(track(steps())) == [1, 2]
    terminal.broken = False


def test_a_loop_that_is_left_takes_its_bar_along(terminal: Screen) -> None:
    """By break as by an error; nothing is left running."""
    terminal.watch()
    for _ in track(range(9), description="Prompts"):
        assert "Prompts: 0 of 9" in terminal.lines[-1]
        break
    assert terminal.lines == [""]
    with pytest.raises(KeyError):
        for _ in track(range(9), description="Prompts"):
            raise KeyError
    assert terminal.lines == [""]


def test_names_that_are_markup_to_rich_are_shown(terminal: Screen) -> None:
    """A description is text."""
    terminal.watch()
    assert list(track([1], description="[red]x[/] \x1b[2J")) == [1]
    assert "[red]x[/] : 0 of 1" in terminal.written
