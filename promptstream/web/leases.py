"""Turns that begin and end here in, what other relays with the same store are told of them out; and their wishes."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import TYPE_CHECKING

from promptstream import runner
from promptstream.errors import ConversationBusy, PromptStreamError

if TYPE_CHECKING:
    from promptstream.state.store import Notes

log = logging.getLogger("promptstream.web")
BUSY = "A turn of this conversation is running; cancel it, or wait for its end."
_TICK = 0.5
"""Seconds between two looks at what others wish, while a turn runs."""
_LIFE = 10.0
"""Seconds after which a relay that says nothing counts as gone, together with its turns."""
_TURN = 86400.0
"""Seconds after which the store forgets a turn whose relay went without a word."""
_LOOK = 0.05
"""Seconds between two looks whether a turn elsewhere has ended."""
_TRIES = 20


class Leases:
    """Have each conversation's turn run in one relay at a time. Any thread may use it.

    A turn is a note, "turn ID", of who runs it; who runs turns says by a note of its own, "relay TOKEN", that it is
    there. In that one others leave the ids of turns that they want stopped. Without *notes* there are no others.

    Args:
        notes: what all relays of a store can see.
        stop: stops a turn that runs here.
    """

    def __init__(self, notes: Notes | None, stop: Callable[[str], object]) -> None:
        self._notes, self._stop = notes, stop
        me = runner.begin()
        runner.end(me)  # it is no round of tools
        self._me, self._name = json.dumps(me), f"relay {me['token']}"
        self._held: set[str] = set()
        self._owed: set[str] = set()
        """Those that the store could not be told of that they ended."""
        self._changed = threading.Condition()
        self._telling = threading.Lock()
        self._told = -_LIFE
        """When it was last said that this relay is there."""
        self._keeper: threading.Thread | None = None
        self._closed = False

    def take(self, id: str) -> None:
        """Let the turn of *id* run here.

        Raises:
            ConversationBusy: it runs in another relay; StateError: the store cannot be asked.
        """
        notes = self._notes
        if notes is None:
            return
        self._be_there(notes)
        held: str | None = None
        for _ in range(_TRIES):
            held = notes.swap(f"turn {id}", held, self._me, _TURN)
            if held == self._me:
                self._keep(id)
                return
            if held is not None and self._is_there(notes, held):
                break
        raise ConversationBusy(BUSY)

    def release(self, id: str) -> None:
        """Let it run anywhere."""
        if self._notes is None or id not in self._held:
            return
        try:
            self._notes.swap(f"turn {id}", self._me, None, 0)
        except PromptStreamError:  # told by what the turn itself could not do; once the store is back, it is made good
            self._owed.add(id)
        self._held.discard(id)

    def runs_elsewhere(self, id: str, wait: float = 0.0) -> bool:
        """Tell whether another relay runs the turn of *id*, and still does *wait* seconds later."""
        notes, until = self._notes, monotonic() + wait
        if notes is None:
            return False
        while (held := notes.swap(f"turn {id}", None, None, 0)) is not None and held != self._me:
            if not self._is_there(notes, held):
                return False
            if monotonic() >= until:
                return True
            sleep(_LOOK)
        return False

    def ask_to_stop(self, id: str) -> None:
        """Have the relay that runs the turn of *id* stop it, within a second.

        Raises:
            StateError: the store cannot be asked, or too many others ask it for something.
        """
        notes = self._notes
        held = None if notes is None else notes.swap(f"turn {id}", None, None, 0)
        if notes is None or held is None or held == self._me:
            return
        name, told = f"relay {json.loads(held)['token']}", ""
        for _ in range(_TRIES):
            wished = f"{told}\n{id}" if told else id
            now = notes.swap(name, told, wished, _LIFE)
            if now is None or id in now.split("\n"):  # it is gone, or knows
                return
            told = now
        raise ConversationBusy("The relay that runs this turn is asked for too much at once; try again.")

    def close(self) -> None:
        """Be there no longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._keeper is not None:
            self._keeper.join(_TICK)
            try:
                self._renew()
                assert self._notes is not None
                self._notes.swap(self._name, "", None, 0)
            except PromptStreamError as error:
                log.warning("Other relays could not be told of the end of this one: %s", type(error).__name__)

    def _is_there(self, notes: Notes, held: str) -> bool:
        other = json.loads(held)
        return not runner.is_gone(other) and notes.swap(f"relay {other['token']}", None, None, 0) is not None

    def _be_there(self, notes: Notes) -> None:
        with self._telling:
            if monotonic() - self._told > _LIFE / 2:
                self._say(notes)

    def _say(self, notes: Notes) -> str:
        """Say that this relay is there; give what others wish of it."""
        wished = notes.swap(self._name, "", "", _LIFE)
        if wished is None:
            wished = notes.swap(self._name, None, "", _LIFE)
        self._told = monotonic()
        return wished or ""

    def _keep(self, id: str) -> None:
        with self._changed:
            self._owed.discard(id)
            self._held.add(id)
            if self._keeper is None and not self._closed:
                self._keeper = threading.Thread(target=self._look, name="promptstream-web-leases", daemon=True)
                self._keeper.start()
            self._changed.notify_all()

    def _look(self) -> None:
        well = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held or self._owed or self._closed)
                self._changed.wait_for(lambda: self._closed, _TICK)
                if self._closed:
                    return
            try:
                for id in self._renew():
                    self._stop(id)
                well = True
            except PromptStreamError as error:
                if well:
                    log.warning("Other relays cannot be told what runs here: %s", type(error).__name__)
                well = False

    def _renew(self) -> list[str]:
        """Say that this relay is there, and what has ended here; give what others want stopped."""
        notes = self._notes
        assert notes is not None
        with self._telling:
            wished = self._say(notes)
            while wished and (more := notes.swap(self._name, wished, "", _LIFE)):
                wished = more
        for id in [*self._owed]:
            notes.swap(f"turn {id}", self._me, None, 0)
            self._owed.discard(id)
        return wished.split("\n") if wished else []
