"""A relay: a server of conversations over WebSockets, and a client that stops, approves and comes back.

Without --provider a script plays the model. With --serve the relay stays, for its web page and for client.js.
"""

import argparse
import sys
from contextlib import suppress

from client import begin, resume, say
from script import SCRIPT
from websockets.sync.client import connect

import promptstream
from promptstream.providers import Scripted
from promptstream.web import Relay


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"{city}: rain, 9 degrees"


@promptstream.tool(approval=True)
def refund(order: int, euros: float) -> str:
    """Pay an order back."""
    return f"{euros:.2f} euros of order {order} are on their way"


def talk(address):
    with connect(address) as socket:
        conversation_id = begin(socket)
        say(socket, "How is the weather in Bergen?")
        say(socket, "Pay order 7 back, please: 80 euros.")
        say(socket, "Tell me a long story.", patience=2)
    with connect(address) as socket:  # as after a break of the line, or on another device
        resume(socket, conversation_id)
        say(socket, "Where were we?")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    parser.add_argument("--serve", action="store_true", help="serve at port 8000 until Ctrl-C")
    args = parser.parse_args()
    options = {"provider": args.provider or Scripted(SCRIPT * 50), "tools": [weather, refund]}
    try:
        with Relay(system="You help in a shop.", port=8000 if args.serve else 0, **options) as relay:
            if args.serve:
                print(f"Open {relay.url}, and press Ctrl-C to end", flush=True)
                with suppress(KeyboardInterrupt):
                    relay.serve_forever()
            else:
                talk(relay.url.replace("http", "ws") + "chat")
    except promptstream.PromptStreamError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
