"""State: a conversation kept in a SQLite file, gone on with later, forked, and listed.

Run it with the path of a file to keep one of your own; without it, one in a temporary folder.
Without --provider a script plays the model.
"""

import argparse
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from script import AGAIN, BEGIN

import promptstream
from promptstream.providers import Scripted
from promptstream.state import SQLiteStore


def turn(conv, message):
    print(f"> {message}", flush=True)
    for chunk in conv.stream(message):
        print(chunk, end="", flush=True)
    if conv.last.finish_reason == "length":
        print("\n[The answer was cut at the token limit]", end="", flush=True)
    print("\n", flush=True)


def begin(store, provider):
    """Keep a new conversation: each turn is in the file before its last chunk is handed out."""
    with promptstream.chat("You plan journeys.", provider=provider or Scripted(BEGIN), store=store) as conv:
        conv.metadata["title"] = "Norway"  # of your own, kept with it
        turn(conv, "I have a week for Norway. Where shall I go?")
        return conv.id


def go_on(store, provider, conversation_id):
    """Take it up again, as another process would: history, figures and system prompt are back."""
    with promptstream.resume(conversation_id, store=store, provider=provider or Scripted(AGAIN)) as conv:
        print(f"[{len(conv.messages)} messages are back; the model was told: {conv.system}]", flush=True)
        turn(conv, "By train or by car?")
        fork = conv.fork()  # has its own id, and goes its own way from here
        with fork:
            fork.metadata["title"] = "Norway, the slow way"
            turn(fork, "And on foot?")
        turn(conv, "Then book it.")


def show(store):
    """List what the file keeps, the last one saved first, with the history of each."""
    for entry in store.list():
        saved = datetime.fromtimestamp(entry.updated).strftime("%H:%M")
        print(f"{entry.id} at {saved}: {entry.metadata.get('title')}, {entry.messages} messages", flush=True)
        for message in store.load(entry.id).messages:
            print(f"  {message.role}: {message.text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", help="where conversations are kept; without it: a temporary file")
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = args.file or Path(folder) / "journeys.db"
            conversation_id = begin(path, args.provider)
            go_on(path, args.provider, conversation_id)
            with SQLiteStore(path) as store:
                show(store)
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
