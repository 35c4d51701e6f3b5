"""A client of a relay in Python: one message at a time, its events in a loop."""

import json


def begin(socket):
    """Take the first event: which conversation this is, and what was said in it before. Gives its id."""
    event = json.loads(socket.recv())
    print(f"[conversation with {len(event['messages'])} messages]", flush=True)
    return event["conversation_id"]


def say(socket, message, patience=1000):
    """Send a message, and print the events of its turn; after *patience* pieces of text, press Stop."""
    print(f"> {message}", flush=True)
    act(socket, action="send_message", message=message)
    for frame in socket:
        event = json.loads(frame)
        if event["type"] == "content":
            print(event["content"], end="", flush=True)
            patience -= 1
            if not patience:
                act(socket, action="cancel")
        elif event["type"] == "tool_call":
            print(f"\n[Tool: {event['tool_call']['name']}]", flush=True)
        elif event["type"] == "approval":
            call = event["tool_call"]
            print(f"[approves {call['name']} {call['arguments']}]", flush=True)
            act(socket, action="approve", call_id=call["id"])  # the turn goes on by itself
        elif event["type"] == "error":
            print(f"\n[{event['error']}]\n", flush=True)
            return
        elif event["type"] == "done" and event["final"]["finish_reason"] != "tool_calls":  # else a call waits
            cut = "\n[The answer was cut at the token limit]" if event["final"]["finish_reason"] == "length" else ""
            print(f"{cut}\n[done: {len(event['final']['content'])} characters]\n", flush=True)
            return


def resume(socket, conversation_id):
    """Go on with a conversation on a connection that has just begun another."""
    begin(socket)
    act(socket, action="resume", conversation_id=conversation_id)
    begin(socket)


def act(socket, **action):
    socket.send(json.dumps(action))
