"""A conversation to show the web page with, for its tests and its pictures: no key, no network, the same each time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import promptstream
from promptstream import ToolCall
from promptstream.values.chunk import Chunk, ChunkType, Finish
from promptstream.values.usage import Usage

QUESTIONS = ("How do I read a big file in Python?", "Order 7 arrived broken. Please pay it back.")
THOUGHTS = "A big file should not be read at once. Lines are the natural piece, *chunks* the one for binary files."
ANSWER = """\
Read it **piece by piece**, so that memory stays small whatever the file's size.

| Way | Memory | Use it for |
|---|---|---|
| `for line in file` | one line | text, logs |
| `file.read(65536)` | 64 KiB | binary data |
| `file.read()` | everything | small files only |

For text, the loop is the whole program:

```python
with open("big.log", encoding="utf-8") as file:
    for number, line in enumerate(file, start=1):
        if "ERROR" in line:
            print(number, line.rstrip())
```

1. The `with` closes the file, also after an error.
2. `enumerate` counts from one, as editors do.
3. Give the *encoding*: the default differs from system to system.

More is in [the tutorial](https://docs.python.org/3/tutorial/inputoutput.html).
"""
ASKED = ToolCall("call-1", "refund", {"order": 7, "euros": 80.0, "reason": "arrived broken"})
PAID = "Done: **80.00 euros** are on their way back to you. That takes two to three days."


@promptstream.tool(approval=True)
def refund(order: int, euros: float, reason: str) -> str:
    """Pay an order back."""
    return f"{euros:.2f} euros of order {order} paid back"


def pieces(text: str, delay: float) -> list[Any]:
    """Give a text as a model streams it: a few characters at a time, with seconds between them."""
    steps: list[Any] = []
    for start in range(0, len(text), 6):
        steps += [text[start : start + 6], delay] if delay else [text[start : start + 6]]
    return steps


def figures(reason: str, given: int, made: int) -> Finish:
    """Give the ending of a turn with its tokens, and what they cost."""
    cost = (given * Decimal("0.4") + made * Decimal("1.6")) / 1_000_000
    return Finish(reason=reason, usage_seen=Usage(input=given, output=made), model="demo-1", cost=cost)


def demo(delay: float = 0.0, thinking: float = 0.0) -> promptstream.Provider:
    """Give a provider that answers both questions once, the second with a call that wants an approval.

    It waits *delay* seconds between two pieces of text, and *thinking* before each of its thoughts.
    """
    thoughts: list[Any] = []
    for at in range(0, len(THOUGHTS), 9):
        thoughts += [thinking, Chunk(ChunkType.REASONING, reasoning=THOUGHTS[at : at + 9])]
    return promptstream.providers.Scripted(
        [
            [*thoughts, delay, *pieces(ANSWER, delay), figures("stop", 31, 214)],
            ["I look after it. The refund needs your word.", ASKED, figures("tool_calls", 262, 40)],
            [*pieces(PAID, delay), figures("stop", 330, 24)],
        ]
    )
