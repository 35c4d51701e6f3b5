"""What the model says where no --provider is named: a line for each request."""

from promptstream import ToolCall, Usage

SCRIPT = [
    ["Let me feel. ", ToolCall("call_1", "water", {"city": "Bergen"}), Usage(60, 14)],
    ["Eleven degrees: ", "if you are brave.", Usage(90, 9)],
    ["Ask me ", "tomorrow.", Usage(110, 4)],
]
