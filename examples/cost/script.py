"""What the model says where no --provider is named, and how many tokens it took: a line for each request."""

from promptstream import ToolCall, Usage

HELLO = [
    ["Ada ", "Lovelace.", Usage(1200, 8)],
    ["In ", "1843.", Usage(1220, 6, cached=1024)],
]
LONG = [[f"Fact {number}.", Usage(400 * number, 300)] for number in range(1, 9)]
ROUNDS = [
    ["The sea is salty.", Usage(300, 40)],
    [ToolCall("call_1", "look_up", {"word": "tide"}), Usage(420, 30)],
    [ToolCall("call_2", "look_up", {"word": "moon"}), Usage(1300, 30)],
    ["The moon pulls.", Usage(1600, 30)],
]
