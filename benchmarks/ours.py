"""A base URL in, promptstream in each of its ways out."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.client import Client
from benchmarks.protocols import KEY, PROMPT, PROTOCOLS, SYSTEM


class Provider(Client):
    """promptstream without history: one provider object, its connections kept, for every thread."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        from promptstream import providers

        model = PROTOCOLS[protocol].model
        self._provider = providers.get(protocol, api_key=KEY, base_url=base_url, model=model)

    def texts(self) -> Iterator[str]:
        for chunk in self._provider.stream(PROMPT):
            yield chunk.text


class Buffered(Provider):
    """The same through the thread and queue of ``buffered()``."""

    def texts(self) -> Iterator[str]:
        for chunk in self._provider.stream(PROMPT).buffered():
            yield chunk.text


class Conversation(Provider):
    """promptstream with history: a new conversation for each run, made before the clock starts."""

    def __init__(self, base_url: str, protocol: str = "openai") -> None:
        import promptstream

        super().__init__(base_url, protocol)
        self._chat = promptstream.chat
        self.prepare()

    def another(self) -> Conversation:
        twin = object.__new__(type(self))
        twin._provider, twin._chat = self._provider, self._chat
        twin.prepare()
        return twin

    def prepare(self) -> None:
        self._conversation = self._chat(SYSTEM, provider=self._provider)

    def texts(self) -> Iterator[str]:
        for chunk in self._conversation.stream(PROMPT):
            yield chunk.text


class Sent(Conversation):
    """The same turn, drained by ``send``."""

    def texts(self) -> Iterator[str]:
        yield self._conversation.send(PROMPT).text
