"""OpenRouter: text completions and chats, streamed and whole, and a list of models of which one answers."""

import sys

import promptstream
from promptstream.providers import OpenRouter

MODEL = "openai/gpt-4o-mini"
MODELS = ["anthropic/claude-haiku-4.5", "google/gemini-2.5-flash", MODEL]


def show(stream):
    for chunk in stream:
        print(chunk, end="", flush=True)
    print(f"\n[{stream.model}] {stream.response.summary()}\n", flush=True)


def completion_streamed(provider):
    show(provider.stream_completion("Once upon a time,", model=MODEL, max_tokens=60))


def completion_whole(provider):
    response = provider.completion("The three primary colours are", model=MODEL, max_tokens=60, streaming=False)
    print(response.text, end="\n\n", flush=True)


def chat_streamed(provider):
    messages = [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
    ]
    show(provider.stream(messages, model=MODEL))


def chat_whole(provider):
    print(provider.send("Name a prime above 100.", model=MODEL, streaming=False).text, end="\n\n", flush=True)


def model_fallback(provider):
    stream = provider.stream("Which model are you?", models=MODELS)
    answers = {chunk.model for chunk in stream if chunk.text}
    print(stream.text, f"\n[asked {', '.join(MODELS)}; answered by {', '.join(answers)}]\n", flush=True)


def main():
    try:
        with OpenRouter(site_title="promptstream examples", routing={"sort": "throughput"}) as provider:
            for part in (completion_streamed, completion_whole, chat_streamed, chat_whole, model_fallback):
                print(f"== {part.__name__.replace('_', ' ')}", flush=True)
                part(provider)
            print(f"Credit left: ${provider.credits().remaining:.2f}")
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
