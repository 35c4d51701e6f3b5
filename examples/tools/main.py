"""Tools: typed functions that the model calls, two of them at the same time, all of it shown as it streams.

Without --provider a script plays the model; the tools run either way.
"""

import argparse
import sys
from typing import Annotated, Literal

import attrs
from script import SCRIPT

import promptstream
from promptstream import ChunkType, ToolContext
from promptstream.providers import Scripted

QUESTION = "Can I take the ferry from Bergen to Stavanger tomorrow, or will it storm?"


@attrs.frozen
class Place:
    """A place on the map."""

    city: str
    country: Annotated[str, "Two letters, such as NO"] = "NO"


def weather(
    place: Place,
    days: Annotated[int, "How many days ahead", {"minimum": 0, "maximum": 7}] = 0,
    unit: Literal["m/s", "knots"] = "m/s",
) -> dict:
    """Tell the weather at a place."""
    wind = 14 - days  # a service would be asked here
    return {"city": place.city, "sky": "rain", "wind": wind if unit == "m/s" else wind * 2, "unit": unit}


def ferries(origin: str, destination: str, context: ToolContext) -> list[str]:
    """List tomorrow's ferries.

    Args:
        origin: the port they leave from.
        destination: the port they go to.
    """
    # The model does not see the context. Whoever cancels the stream ends this wait as well.
    if context.wait(0.05):
        raise promptstream.errors.ToolError("The timetable was not read: the turn was stopped.")
    return ["08:00", "13:30"]


def show(stream):
    for chunk in stream:
        if chunk.type is ChunkType.TOOL_CALL_DELTA:  # the arguments as the model writes them, not yet whole
            print(chunk.tool_call.raw_arguments, end="", flush=True)
        elif chunk.type is ChunkType.TOOL_CALL:
            print(f"\n[calls {chunk.tool_call.name} with {chunk.tool_call.arguments}]", flush=True)
        elif chunk.type is ChunkType.TOOL_RESULT:
            print(f"[{chunk.tool_result.name} gave {chunk.tool_result.content}]", flush=True)
        print(chunk, end="", flush=True)
    response = stream.response
    print(f"\n\n{response.rounds} rounds, {len(response.tool_calls)} calls. {response.summary()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with promptstream.chat(provider=args.provider or Scripted(SCRIPT), tools=[weather, ferries]) as conv:
            print(f"Provider: {conv.provider.name}\n> {QUESTION}\n", flush=True)
            show(conv.stream(QUESTION))
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
