"""What the model says where no --provider is named: a line for each request."""

from promptstream import ToolCall

SCRIPT = [
    ["Let me look.", ToolCall("call_1", "weather", {"city": "Bergen"})],
    ["It ", "rains, ", "at 9 degrees."],
    ["I ask for it.", ToolCall("call_2", "refund", {"order": 7, "euros": 80})],
    ["Done: ", "80 euros ", "are on their way."],
    ["Once upon a time, ", "in a city of rain, ", 60, "there was an umbrella."],
    ["In a city ", "of rain."],
]
