"""HTTP tools: a pack describes calls of a web service, and the program says which hosts and keys it may use.

The service is a server of this program's own. Without --provider a script plays the model; the calls are real.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from script import SCRIPT
from service import running

import promptstream
from promptstream.providers import Scripted
from promptstream.tools import http_tools

PACK = Path(__file__).parent / "http_tools.pack.json"
os.environ.setdefault("SHOP_KEY", "key-of-the-shop")


def loaded(address):
    """Give the pack with the service's address, whose port is another each time."""
    return json.loads(PACK.read_text(encoding="utf-8").replace("127.0.0.1:8000", address))


def refusals(pack, address):
    """Show that a pack reaches no host and reads no variable by itself."""
    for permissions in ({"allow": [], "env": ["SHOP_KEY"]}, {"allow": [address]}):
        try:
            http_tools(pack, **permissions)
        except promptstream.errors.ConfigError as error:
            print(f"[refused] {error}", flush=True)
    print(flush=True)


def show(stream):
    for chunk in stream:
        if chunk.tool_call and chunk.tool_call.arguments is not None:
            print(f"\n[calls {chunk.tool_call.name} with {chunk.tool_call.arguments}]", flush=True)
        elif chunk.tool_result:
            print(f"[{chunk.tool_result.name} gave {chunk.tool_result.content}]", flush=True)
        print(chunk, end="", flush=True)
    print("\n[The answer was cut at the token limit]" if stream.response.finish_reason == "length" else "", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    try:
        with running() as address:
            pack = loaded(address)
            refusals(pack, address)
            tools = http_tools(pack, allow=[address], env=["SHOP_KEY"])
            with promptstream.open(pack, provider=args.provider or Scripted(SCRIPT), tools=tools) as conv:
                show(conv.stream("I would like two herrings, size L. Are there any?"))
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
