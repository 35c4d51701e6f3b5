"""Qwen in DashScope's compatible mode: Chat Completions, with thinking switched on and off in words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from promptstream.errors import Authentication, ProviderError
from promptstream.providers.openai.chat import OpenAIDialect
from promptstream.providers.openai.models import Rules
from promptstream.providers.parameters import portable_id
from promptstream.providers.qwen import places
from promptstream.providers.qwen.models import Plan, plan_for
from promptstream.values.effort import Effort
from promptstream.values.request import Call, ChatRequest

_RULES = Rules(frozenset({"frequency_penalty"}), limit="max_tokens", call_id=portable_id)


class QwenDialect(OpenAIDialect):
    """Speak compatible mode to Alibaba's Model Studio, in one of its regions."""

    name = "qwen"
    capabilities = frozenset({"streaming", "completion", "tools", "reasoning", "images", "json_schema", "models"})
    default_model: ClassVar[str] = "qwen-plus"
    default_url: ClassVar[str] = f"https://{places.HOSTS['cn']}{places.COMPATIBLE}"
    url_variable: ClassVar[str] = places.VARIABLE
    key_variables: ClassVar[tuple[str, ...]] = ("DASHSCOPE_API_KEY",)

    def __init__(
        self,
        *,
        api_key: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        region: str | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        url = places.chosen_url(base_url, region, places.COMPATIBLE)
        super().__init__(api_key=api_key, model=model, base_url=url, headers=headers, allow_plaintext=allow_plaintext)

    def rules(self, model: str) -> Rules:
        """Give what every model here takes; what one of them lacks is left out before."""
        return _RULES

    def reasoning(self, effort: Effort, who: str) -> tuple[dict[str, Any], list[str]]:
        """Give nothing: the plan says it."""
        return {}, []

    def encode(self, request: ChatRequest) -> Call:
        """Give the POST; a model that thinks is asked for a stream, whatever is wanted, since it gives nothing else.

        Raises:
            ConfigError: more than one choice is asked for, or a part cannot be sent.
            Unsupported: a part is of a kind that this protocol cannot carry.
        """
        if request.prompt is not None:
            return super().encode(request)
        plan = plan_for(request.model, request.who, request.parameters, request.extra)
        given = {name: value for name, value in request.parameters.items() if name not in plan.dropped}
        call = super().encode(attrs.evolve(request, parameters=given))
        return attrs.evolve(call, json=_planned(call.json or {}, plan, request), warnings=plan.warnings + call.warnings)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Give the error for an HTTP status; where the key is refused, it tells of regions."""
        error = super().error(status, headers, body)
        return places.told_of_regions(error, self.base_url) if isinstance(error, Authentication) else error


def _planned(body: Mapping[str, Any], plan: Plan, request: ChatRequest) -> dict[str, Any]:
    planned = {**body, **plan.options, **request.extra}
    if plan.streams_only and not request.streaming and "stream" not in request.extra:
        planned |= {"stream": True, "stream_options": {"include_usage": True}}
    return planned
