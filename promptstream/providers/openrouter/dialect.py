"""OpenRouter: Chat Completions and text completions of many models behind one key (openrouter.ai/docs)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from promptstream.errors import ConfigError, ProtocolError
from promptstream.providers.openai.chat import OpenAIDialect
from promptstream.providers.openai.models import Rules, any_id
from promptstream.providers.openrouter.answer import OpenRouterAnswer, kept_details
from promptstream.providers.openrouter.routing import checked_routing
from promptstream.providers.reading import amount, count, text_in
from promptstream.values.account import Credits, Generation
from promptstream.values.effort import Effort
from promptstream.values.message import Message
from promptstream.values.request import Call, ChatRequest, ModelInfo
from promptstream.values.usage import Usage


class OpenRouterDialect(OpenAIDialect):
    """Speak to OpenRouter, which turns to further models by itself and says what an answer cost."""

    name = "openrouter"
    capabilities = frozenset(
        {
            *("streaming", "completion", "tools", "reasoning", "images", "documents", "json_schema", "models"),
            "model_fallback",
        }
    )
    queries = frozenset({"credits", "generation"})
    tells_cost = True
    default_model: ClassVar[str] = "openrouter/auto"
    default_url: ClassVar[str] = "https://openrouter.ai/api/v1"
    url_variable: ClassVar[str] = "OPENROUTER_BASE_URL"
    key_variables: ClassVar[tuple[str, ...]] = ("OPENROUTER_API_KEY",)

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
        routing: Mapping[str, Any] | None = None,
        transforms: Iterable[str] | None = None,
        plugins: Iterable[Mapping[str, Any]] | None = None,
        site_url: str | None = None,
        site_title: str | None = None,
    ) -> None:
        """Take what every request of this provider says besides.

        Args:
            routing: which upstream providers may answer, and in which order: the body's ``provider`` object.
            transforms: what is done to the prompt, such as ``["middle-out"]``.
            plugins: such as ``[{"id": "web"}]``.
            site_url: your application's address, for OpenRouter's rankings.
            site_title: its name there.

        Raises:
            ConfigError: an option is unknown or of the wrong type.
        """
        site = {"HTTP-Referer": site_url, "X-Title": site_title, "X-OpenRouter-Title": site_title}
        attribution = {name: value for name, value in site.items() if value is not None}
        super().__init__(
            api_key=api_key,
            model=model,
            base_url=base_url,
            headers={**attribution, **(headers or {})},
            allow_plaintext=allow_plaintext,
        )
        self._named = model or ""
        self._options: dict[str, Any] = {}
        if routing is not None:
            self._options["provider"] = checked_routing(routing)
        if transforms is not None:
            self._options["transforms"] = _listed("transforms", transforms, str, "names, such as ['middle-out']")
        if plugins is not None:
            self._options["plugins"] = _listed("plugins", plugins, Mapping, "dicts, such as [{'id': 'web'}]")

    def rules(self, model: str) -> Rules:
        """Refuse nothing: OpenRouter drops what a model lacks, and streams the usage unasked."""
        return Rules(
            limit="max_tokens",
            of_completion=frozenset({"reasoning"}),
            usage_asked=False,
            document_urls=True,
            call_id=any_id,  # the upstream provider's own, which details of reasoning may refer to
        )

    def reasoning(self, effort: Effort, who: str) -> tuple[dict[str, Any], list[str]]:
        """Give the ``reasoning`` object: an effort, a budget, or neither for the model's own measure."""
        wanted: dict[str, Any] = dict(effort.options)
        if effort.level is not None:
            wanted["effort"] = effort.level
        if effort.budget is not None:
            wanted["max_tokens"] = effort.budget
        return {"reasoning": wanted or {"enabled": True}}, []

    def options(self, request: ChatRequest) -> dict[str, Any]:
        """Give routing, transforms, plugins and the models to turn to, the one that was named first."""
        if not request.models:
            return self._options
        first = request.model or self._named
        models = list(dict.fromkeys(filter(None, (first, *request.models))))
        return {**self._options, "model": models[0], "models": models}

    def echo(self, message: Message) -> dict[str, Any]:
        """Send back what the models want of their reasoning."""
        details = kept_details(message)
        return {"reasoning_details": details} if details else {}

    def answer(self) -> OpenRouterAnswer:
        """Give what takes in the events of one answer."""
        return OpenRouterAnswer(self.name, self.secret)

    def decode_models(self, body: Any) -> list[ModelInfo]:
        """Turn the list of models into values with their names and contexts."""
        known = {row.id for row in super().decode_models(body)}
        return [
            ModelInfo(row["id"], text_in(row, "name"), count(row, "context_length"))
            for row in body["data"]
            if isinstance(row, dict) and row.get("id") in known
        ]

    def credits_call(self) -> Call:
        """Give the GET that tells the account's credit."""
        return Call("GET", self.address("/credits"), self._headers)

    def decode_credits(self, body: Any) -> Credits:
        """Turn the answer to that into a value."""
        data = self._data(body, "credits")
        total, used = amount(data.get("total_credits")), amount(data.get("total_usage"))
        if total is None or used is None:
            raise ProtocolError(f"{self.name} told no credits.", phase="decode")
        return Credits(total, used)

    def generation_call(self, generation_id: str) -> Call:
        """Give the GET that tells the figures of one answer: of a response's ``request_id``.

        For a moment after a stream ends OpenRouter may not know it yet, and say NotFound.

        Raises:
            ConfigError: the id is not a string, or empty.
        """
        if not isinstance(generation_id, str) or not generation_id.strip():
            raise ConfigError(f"generation({generation_id!r:.60}): give an answer's request_id, such as 'gen-…'.")
        return Call("GET", self.address(f"/generation?id={quote(generation_id, safe='')}"), self._headers)

    def decode_generation(self, body: Any) -> Generation:
        """Turn the answer to that into a value."""
        data = self._data(body, "generation")
        if (identity := text_in(data, "id")) is None:
            raise ProtocolError(f"{self.name} told no generation.", phase="decode")
        return Generation(
            id=identity,
            model=text_in(data, "model"),
            provider=text_in(data, "provider_name"),
            cost=amount(data.get("total_cost")),
            usage=Usage(
                input=count(data, "native_tokens_prompt"),
                output=count(data, "native_tokens_completion"),
                cached=count(data, "native_tokens_cached"),
                reasoning=count(data, "native_tokens_reasoning"),
            ),
            finish_reason=text_in(data, "finish_reason"),
            raw_finish_reason=text_in(data, "native_finish_reason"),
            latency=_seconds(data, "latency"),
            duration=_seconds(data, "generation_time"),
            created=text_in(data, "created_at"),
            streamed=_bool(data, "streamed"),
            cancelled=_bool(data, "cancelled"),
            raw=data,
        )

    def _data(self, body: Any, what: str) -> dict[str, Any]:
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            raise ProtocolError(f"{self.name} answered something else than {what}.", phase="decode")
        return data


def _listed(option: str, value: Any, kind: type, what: str) -> list[Any]:
    items = [] if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable) else list(value)
    if not items or not all(isinstance(item, kind) for item in items):
        raise ConfigError(f"{option}={value!r:.80}: give a list of {what}.")
    return items


def _bool(row: Mapping[str, Any], key: str) -> bool | None:
    value = row.get(key)
    return value if isinstance(value, bool) else None


def _seconds(row: Mapping[str, Any], key: str) -> float | None:
    milliseconds = amount(row.get(key))
    return None if milliseconds is None else float(milliseconds) / 1000
