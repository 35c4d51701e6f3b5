"""A WebSocket server of your own: each event of a stream is one message, whatever the framework.

Without --provider a script plays the model. A whole server, with resume, approvals and limits, is in ../relay.
"""

import argparse
import json
import sys
import threading

from script import SCRIPT
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

import promptstream
from promptstream.providers import Scripted


def handler(provider):
    """Give what serves one client: a conversation for each connection, a provider for all."""

    def handle(socket):
        with promptstream.chat("You are a storyteller.", provider=provider) as conv:
            for frame in socket:
                try:
                    stream = conv.stream(json.loads(frame)["message"])
                except (ValueError, KeyError, TypeError, promptstream.PromptStreamError) as error:
                    socket.send(json.dumps({"type": "error", "error": str(error)}))
                    continue
                try:
                    for event in stream.iter_events():  # an error is the last event, and raises nothing
                        socket.send(json.dumps(event))  # waits where the client is slow, and so does the provider
                except ConnectionClosed:
                    return  # leaving the loop has hung up on the provider

    return handle


def say(socket, message):
    print(f"> {message}", flush=True)
    socket.send(json.dumps({"action": "send_message", "message": message}))
    for frame in socket:
        event = json.loads(frame)
        if event["type"] == "content":
            print(event["content"], end="", flush=True)
        elif event["type"] == "error":
            print(f"\n[Error: {event['error']}]\n", flush=True)
            return
        elif event["type"] == "done":
            cut = event["final"]["finish_reason"] == "length"
            end = "[The answer was cut at the token limit]" if cut else "[Complete]"
            print(f"\n{end}\n", flush=True)
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with (
            promptstream.providers.get(args.provider) if args.provider else Scripted(SCRIPT) as provider,
            serve(handler(provider), "127.0.0.1", 0) as server,
        ):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            port = server.socket.getsockname()[1]
            with connect(f"ws://127.0.0.1:{port}/chat") as socket:
                say(socket, "Tell me a short story.")
                say(socket, "And a sad one.")
                say(socket, "")
    except promptstream.PromptStreamError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
