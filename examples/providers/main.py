"""One prompt, any provider: the answer as it arrives, then its figures."""

import argparse
import sys

import promptstream

NAMES = ("openai", "anthropic", "gemini", "qwen", "ollama", "openrouter", "local")
PROMPT = "Escribe un poema corto (4 versos) sobre la programación en Go."


def newest_ollama_model():
    with promptstream.providers.get("ollama") as ollama:
        models = ollama.models()
    if not models:
        sys.exit("Ollama has no model yet; try: ollama pull llama3.2")
    return models[0].id


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", choices=NAMES, help="without it: what the keys in the environment say")
    parser.add_argument("--model", help="without it: the provider's default")
    args = parser.parse_args()
    try:
        if args.provider == "ollama" and args.model is None:
            args.model = newest_ollama_model()
        with promptstream.chat(provider=args.provider, model=args.model, max_tokens=800, timeout=60) as conv:
            print(f"Provider: {conv.provider.name}")
            print(f"Prompt: {PROMPT}")
            print("---\nStreaming response:\n", flush=True)
            for chunk in conv.stream(PROMPT):
                print(chunk, end="", flush=True)
            print(f"\n\n---\n{conv.last.report()}")
    except promptstream.PromptStreamError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    main()
