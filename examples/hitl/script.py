"""What the model says where no --provider is named: a line for each request, of each of the two processes."""

from promptstream import ToolCall

ASKED = [
    [
        "I am sorry to hear that. ",
        "I will see to it.",
        ToolCall("call_1", "refund", {"order": 7, "euros": 80}),
        ToolCall("call_2", "refund", {"order": 8, "euros": 20}),
        ToolCall("call_3", "close_account", {}),
    ]
]
DECIDED = [
    ["You get 70 euros back. ", "To close your account, please confirm that in writing."],
]
