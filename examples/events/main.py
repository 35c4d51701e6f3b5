"""Streams as events: plain dicts that go into a WebSocket, a queue or a log as they are."""

from pathlib import Path

import promptstream

PACK = Path(__file__).parent / "events.pack.json"


def print_figures(cost, latency_ms, tokens):
    cost = "unknown" if cost is None else f"${cost:.6f}" if 0 < cost < 0.001 else f"${cost:.4f}"
    latency = "unknown" if latency_ms is None else f"{latency_ms:.0f}ms"
    tokens = "unknown" if tokens is None else tokens
    print(f"\n💰 Cost: {cost} | ⏱️  Latency: {latency} | 🎫 Tokens: {tokens}\n", flush=True)


def say_if_cut(finish_reason):
    if finish_reason == "length":
        print("[The answer was cut at the token limit]", flush=True)


def at_once(conv, message):
    print(f"User: {message}", flush=True)
    try:
        response = conv.send(message)
    except promptstream.StreamError as error:
        raise SystemExit(f"[Error: {error}]") from None
    print(f"Assistant: {response.text}", flush=True)
    say_if_cut(response.finish_reason)
    print_figures(response.cost, response.timing.total * 1000, response.usage.total)


def as_events(conv, message):
    print(f"User: {message}\nAssistant: ", end="", flush=True)
    for event in conv.stream(message).iter_events():
        if event["type"] == "content":
            print(event["content"], end="", flush=True)
        elif event["type"] == "tool_call":
            print(f"[Tool: {event['tool_call']['name']}]", end="", flush=True)
        elif event["type"] == "error":
            print(f"\n[Error: {event['error']}]", flush=True)
        elif event["type"] == "done":
            final = event["final"]
            print(flush=True)
            say_if_cut(final["finish_reason"])
            print_figures(final["cost"], final["latency_ms"], final["usage"]["total"])


def main():
    with promptstream.open(PACK, "chat") as conv:
        print(f"🤖 Streaming conversation started (ID: {conv.id})\n", flush=True)
        at_once(conv, "Tell me a short story about a robot.")
        as_events(conv, "Now tell me another one, but shorter.")
        print("📜 Conversation History:", flush=True)
        for number, message in enumerate(conv.messages, 1):
            text = " ".join(message.text.split())
            text = text if len(text) <= 60 else f"{text[:57]}..."
            print(f"  {number}. [{message.role}] {text}", flush=True)


if __name__ == "__main__":
    main()
