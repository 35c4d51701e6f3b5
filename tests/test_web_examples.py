"""The examples of servers, run as programs, and the clients in JavaScript beside them, run in Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from openai_server import PATIENCE
from test_examples import EXAMPLES, shown_by

import promptstream
from promptstream import ToolCall
from promptstream.errors import Truncated
from promptstream.providers import Scripted

REACT = """\
export const useState = (first) => {
  const state = { value: first };
  globalThis.states.push(state);
  const set = (next) => {
    state.value = typeof next === 'function' ? next(state.value) : next;
    globalThis.changed();
  };
  return [first, set];
};
export const useRef = (current) => ({ current });
export const useEffect = (effect) => { globalThis.leave = effect(); globalThis.opened(); };
"""
"""What the hook uses of React, as far as one rendering needs it."""
HOOK = """\
globalThis.states = [];
globalThis.changed = () => {
  const [message, tool, stats, error] = globalThis.states.map((each) => each.value);
  if (stats === null && error === null) return;
  console.log(JSON.stringify({ message, tool, content: stats && stats.content, error }));
  globalThis.leave();
};
globalThis.opened = () => {};
const NativeSocket = globalThis.WebSocket;
globalThis.WebSocket = class extends NativeSocket {
  constructor(address) { super(address); this.addEventListener('open', () => chat.say('How is Oslo?')); }
};
const { useChat } = await import('./useChat.js');
const chat = useChat(process.argv[2]);
"""


def test_relay_answers_asks_stops_and_goes_on() -> None:
    """A tool, an approval that the client gives, a stop, and the conversation on a second connection."""
    assert shown_by({}, "relay") == (
        "[conversation with 0 messages]\n"
        "> How is the weather in Bergen?\n"
        "Let me look.\n[Tool: weather]\nIt rains, at 9 degrees.\n[done: 35 characters]\n\n"
        "> Pay order 7 back, please: 80 euros.\n"
        "I ask for it.\n[Tool: refund]\n[approves refund {'order': 7, 'euros': 80}]\n"
        "Done: 80 euros are on their way.\n[done: 32 characters]\n\n"
        "> Tell me a long story.\n"
        "Once upon a time, in a city of rain, \n[The stream was cancelled: the client asked for it.]\n\n"
        "[conversation with 0 messages]\n"
        "[conversation with 10 messages]\n"
        "> Where were we?\nIn a city of rain.\n[done: 18 characters]\n\n"
    )


def test_own_websocket_sends_each_event() -> None:
    """Text, an error with what came before it, and a message that cannot be sent; the connection outlives them."""
    assert shown_by({}, "own_websocket") == (
        "> Tell me a short story.\nA robot found a flower.\n[Complete]\n\n"
        "> And a sad one.\nIt rusted\n[Error: The provider is busy.]\n\n"
        "> \n\n[Error: The message is empty.]\n\n"
    )


@promptstream.tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


TALKS = {
    "text and a tool": (
        [["Well. ", ToolCall("1", "weather", {"city": "Oslo"})], ["It ", "rains. 🌧"]],
        '{"message":"Well. It rains. 🌧","tool":null,"content":"Well. It rains. 🌧","error":null}\n',
    ),
    "an answer that is cut": (
        [["Half ", Truncated("It was cut.")]],
        '{"message":"Half ","tool":null,"content":null,"error":"The answer broke off; try again."}\n',
    ),
}


@pytest.mark.parametrize("name", TALKS)
def test_the_client_in_javascript_follows_a_turn(name: str, tmp_path: Path) -> None:
    """The hook, and the client below it, show text as it comes, name the tool, and tell figures or the error."""
    pytest.importorskip("websockets", reason="websockets is not installed (extra web)")
    node = shutil.which("node")
    if node is None or subprocess.run([node, "--experimental-websocket", "-v"], capture_output=True).returncode:
        pytest.skip("there is no Node.js with WebSockets (20.10 or later) on this machine")
    from promptstream.web import Relay

    react = tmp_path / "node_modules" / "react"
    react.mkdir(parents=True)
    for folder in (tmp_path, react):
        (folder / "package.json").write_text('{"type": "module", "main": "index.js"}')
    (react / "index.js").write_text(REACT)
    (tmp_path / "hook.js").write_text(HOOK)
    for file in ("client.js", "useChat.js"):
        shutil.copy(EXAMPLES / "relay" / file, tmp_path)
    script, expected = TALKS[name]
    with Relay(provider=Scripted(script), tools=[weather], port=0) as relay:
        address = relay.url.replace("http", "ws") + "chat"
        ran = subprocess.run(
            [node, "--experimental-websocket", "--no-warnings", "hook.js", address],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
    assert (ran.stdout, ran.stderr) == (expected, "")
