"""What the model says where no --provider is named: a line for each request."""

from promptstream import ToolCall

SCRIPT = [
    ["Let me look. ", ToolCall("call_1", "stock", {"item": "herring", "size": "L"})],
    ["There are. ", ToolCall("call_2", "reserve", {"item": "herring", "pieces": 2})],
    ["Two herrings ", "wait for you, under the number 42."],
]
