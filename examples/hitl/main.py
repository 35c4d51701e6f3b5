"""A human decides: calls wait for a yes, for other arguments or for a no, and outlive the process that asked.

Two processes share a conversation in a SQLite file: the first asks and ends while calls wait, the second decides.
Without --provider a script plays the model; what is approved runs either way.
"""

import argparse
import subprocess
import sys
import tempfile

from script import ASKED, DECIDED

import promptstream
from promptstream.providers import Scripted


@promptstream.tool(approval=True)
def refund(order: int, euros: float) -> str:
    """Pay an order back."""
    return f"{euros:.2f} euros paid back for order {order}"


@promptstream.tool(approval=True)
def close_account() -> str:
    """Close the customer's account for good."""
    return "closed"


def show(stream):
    for chunk in stream:
        if chunk.tool_result:
            print(f"[{chunk.tool_result.name} gave {chunk.tool_result.content!r}]", flush=True)
        print(chunk, end="", flush=True)
    print("\n[The answer was cut at the token limit]" if stream.response.finish_reason == "length" else "", flush=True)


def ask(store, options):
    """Stream until calls wait, and leave them to somebody else."""
    with promptstream.chat("You help customers.", store=store, conversation_id="claim-7", **options) as conv:
        show(conv.stream("Orders 7 and 8 came broken: pay back the 80 and the 20 euros. And close my account."))
        print(f"[{len(conv.pending)} calls wait; this process ends]\n", flush=True)


def decide(store, options):
    """Decide each call, then stream on: one request carries the results of all of them."""
    with promptstream.resume("claim-7", store=store, **options) as conv:
        for call in conv.pending:
            print(f"[{call.name} {call.arguments} waits]")
            if call.name == "close_account":
                conv.reject(call.id, "the customer has to confirm it in writing")
            elif call.name == "refund" and call.arguments["euros"] > 50:
                conv.approve(call.id, arguments={**call.arguments, "euros": 50})
            else:
                conv.approve(call.id)
        show(conv.resume())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", nargs="?", choices=("ask", "decide"), help="without it: one after the other")
    parser.add_argument("--store", default="claims.db", help="the file that keeps the conversation")
    parser.add_argument("--provider", help="such as openai; without it: a script")
    args = parser.parse_args()
    if args.step is None:
        with tempfile.TemporaryDirectory() as folder:
            for step in ("ask", "decide"):
                if subprocess.call([sys.executable, __file__, step, *sys.argv[1:], "--store", f"{folder}/claims.db"]):
                    sys.exit(1)
        return
    try:
        run, script = (ask, ASKED) if args.step == "ask" else (decide, DECIDED)
        run(args.store, {"provider": args.provider or Scripted(script), "tools": [refund, close_account]})
    except promptstream.PromptStreamError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
