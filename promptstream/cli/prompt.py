"""Keys that a person presses at a terminal in, the texts that they send out; edited, completed, and remembered."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.styles import Style

from promptstream.cli.slash import COMMANDS, goes_on, is_command
from promptstream.cli.terminal import is_terminal, readable, tell
from promptstream.values.folders import user_folder

HISTORY_VARIABLE = "PROMPTSTREAM_HISTORY"
LARGEST = 1_000_000
"""Bytes that the file of remembered lines may have; the older half goes then."""
_HINT = "/help for commands"
_ROWS = 8
"""Of the menu of commands, which shows while one is typed."""
_STYLE = {
    "placeholder": "ansibrightblack",
    "completion-menu": "bg:default fg:default",
    "completion-menu.completion": "bg:default fg:default",
    "completion-menu.completion.current": "reverse",
    "completion-menu.meta.completion": "bg:default ansibrightblack",
    "completion-menu.meta.completion.current": "bg:default ansibrightblack",
    "scrollbar.background": "bg:default",
    "scrollbar.button": "bg:ansibrightblack",
}


class Prompt:
    """Read one text after the other from the terminal.

    Enter sends; Alt-Enter, Esc and Enter, and Enter after a backslash begin a new line; a paste stays whole.

    Args:
        models: gives the names that /model completes.
    """

    def __init__(self, label: str, models: Callable[[], Iterable[str]]) -> None:
        self._label = label
        output = create_output(sys.stdout if is_terminal(sys.stdout) else sys.stderr)
        if hasattr(output, "enable_cpr"):
            output.enable_cpr = False  # an answer that comes late would be taken for what is typed next
        self._session: PromptSession[str] = PromptSession(
            output=output,
            history=remembered(),
            completer=_Commands(models),
            complete_while_typing=Condition(self._names_command),
            reserve_space_for_menu=_ROWS,
            multiline=True,
            prompt_continuation=lambda width, line, wrapped: " " * width,
            key_bindings=_bindings(),
            enable_suspend=True,
            enable_open_in_editor=True,
            tempfile_suffix=".md",
            placeholder=_hint,
            style=Style.from_dict(_STYLE),
        )

    def read(self, draft: str = "") -> str:
        """Give what is sent next; *draft* is there to be changed.

        Raises:
            EOFError: Ctrl-D was pressed instead; KeyboardInterrupt: Ctrl-C.
        """
        return readable(self._session.prompt(self._label, default=draft))

    def _names_command(self) -> bool:
        return is_command(self._session.default_buffer.text)


class _Commands(Completer):
    """Complete commands, and what follows them."""

    def __init__(self, models: Callable[[], Iterable[str]]) -> None:
        self._models = models
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not is_command(text):
            return
        word, space, rest = text.partition(" ")
        if not space:
            for each in COMMANDS:
                if each.name.startswith(word):
                    shown = f"{each.name} {each.argument}".strip()
                    whole = f"{each.name} " if each.argument else each.name
                    yield Completion(whole, -len(word), display=shown, display_meta=each.help)
        elif word in ("/attach", "/save"):
            yield from self._paths.get_completions(Document(rest.lstrip()), complete_event)
        elif word in ("/model", "/help"):
            known = self._models() if word == "/model" else [each.name[1:] for each in COMMANDS]
            yield from (Completion(name, -len(rest)) for name in known if name.startswith(rest))


def _hint() -> AnyFormattedText:
    return [] if get_app().is_done else [("class:placeholder", _HINT)]


def _bindings() -> KeyBindings:
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)  # not searching

    @keys.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None  # what was chosen from the menu stands there already
        elif buffer.document.is_cursor_at_the_end and goes_on(buffer.text):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        elif buffer.text.strip():
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    typed = typing & Condition(lambda: bool(get_app().current_buffer.text))

    @keys.add("c-c", filter=typed)
    @keys.add("<sigint>", filter=typed)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.append_to_history()
        event.current_buffer.reset()

    return keys


def history_file() -> Path | None:
    """Give where lines are remembered: ``PROMPTSTREAM_HISTORY`` if set, else a file in the user's data folder.

    None where nothing shall be, for the variable is empty, or there is no such folder.
    """
    named = os.environ.get(HISTORY_VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    try:
        return user_folder("data") / "chat_history"
    except RuntimeError:
        return None


class _Lines(FileHistory):
    """Remember lines in a file, or only here where it cannot be written; none twice in a row."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path or os.devnull)
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        try:
            return super().load_history_strings()
        except OSError as error:
            self._give_up(error)
            return ()

    def append_string(self, string: str) -> None:
        if string.strip() and self.get_strings()[-1:] != [string]:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        if self._path is None:
            return
        try:
            super().store_string(string)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        tell(f"What you type is not remembered: {self._path}: {error.strerror or error}.", dim=True)
        self._path = None


def remembered() -> _Lines:
    """Give what was typed before, from its file, and remember there what is typed from now on."""
    path = history_file()
    if path is None:
        return _Lines(None)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
        if path.stat().st_size > LARGEST:
            _shorten(path)
    except OSError as error:
        tell(f"What you type is not remembered: {path}: {error.strerror or error}.", dim=True)
        return _Lines(None)
    return _Lines(path)


def _shorten(path: Path) -> None:
    """Leave the newer half of the file, from the beginning of an entry on."""
    data = path.read_bytes()
    start = data.find(b"\n# ", len(data) - LARGEST // 2)
    new = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data[start:] if start >= 0 else b"")
    os.replace(new, path)
