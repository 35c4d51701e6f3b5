"""What the model says where no --provider is named: a line for each request."""

from promptstream import Chunk, ChunkType, ToolCall


def written(id, name, *pieces):
    """Give a call in pieces, as a model writes it."""
    return [Chunk(ChunkType.TOOL_CALL_DELTA, tool_call=ToolCall(id, name, raw_arguments=piece)) for piece in pieces]


SCRIPT = [
    [
        *("Let me ", "look. "),
        *written("call_1", "weather", '{"place": {"city": ', '"Stavanger"}, ', '"days": 1}'),
        ToolCall("call_1", "weather", {"place": {"city": "Stavanger"}, "days": 1}),
        *written("call_2", "ferries", '{"origin": "Bergen", ', '"destination": "Stavanger"}'),
        ToolCall("call_2", "ferries", {"origin": "Bergen", "destination": "Stavanger"}),
    ],
    ["Ferries leave at 08:00 and 13:30. ", "Expect rain and 13 m/s of wind: ", "rough, but no storm."],
]
