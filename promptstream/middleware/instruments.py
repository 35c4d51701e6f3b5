"""Rounds in, OpenTelemetry metrics out: those of the GenAI conventions, and a few of our own beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from promptstream.middleware.log import NAME
from promptstream.middleware.seen import Seen, class_of
from promptstream.values.request import ChatRequest
from promptstream.values.usage import Usage

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""The buckets that the conventions ask for."""
PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
_PROVIDERS = {"gemini": "gcp.gemini"}
"""What the conventions call a provider by another name than we do."""
_COUNTED: dict[str, Callable[[Usage], int | None]] = {
    "input_tokens": lambda usage: usage.input,
    "output_tokens": lambda usage: usage.output,
    "cache_read.input_tokens": lambda usage: usage.cached,
    "cache_write.input_tokens": lambda usage: usage.cache_write,
    "reasoning.output_tokens": lambda usage: usage.reasoning,
}
"""What is counted under ``gen_ai.client.inference.usage``."""
Told = Mapping[str, Any]


@contextmanager
def apart() -> Iterator[None]:
    """Keep what fails in OpenTelemetry, or in what was hung into it, from the turn; a line in the log tells of it."""
    try:
        yield
    except Exception as error:
        complain(error)


def complain(error: Exception) -> None:
    """Log that *error* was kept from the turn."""
    from logging import getLogger

    getLogger(NAME).warning("Telemetry failed (%s); the turn goes on.", class_of(error))


def asked(request: ChatRequest, provider: str) -> dict[str, Any]:
    """Give what is known of a round before it begins, as the conventions name it."""
    told = {
        "gen_ai.operation.name": "chat" if request.prompt is None else "text_completion",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider or "unknown"),
    }
    if request.model:
        told["gen_ai.request.model"] = request.model
    return told


@attrs.frozen(eq=False)
class Instruments:
    """The instruments of a client. OpenTelemetry's may be used from any thread."""

    duration: Histogram
    first: Histogram
    per_chunk: Histogram
    per_token: Histogram
    tokens: Histogram
    counted: Mapping[str, Counter]
    cost: Counter
    retries: Counter
    in_flight: UpDownCounter

    @classmethod
    def of(cls, meter: Meter) -> Instruments:
        """Make them by *meter*."""
        of_operation = "gen_ai.client.operation."
        counted = {
            name: meter.create_counter(f"gen_ai.client.inference.usage.{name}", "{token}", "Tokens used.")
            for name in _COUNTED
        }
        return cls(
            _histogram(meter, f"{of_operation}duration", "s", "GenAI operation duration.", SECONDS),
            _histogram(
                meter,
                f"{of_operation}time_to_first_chunk",
                "s",
                "Time from the request to the first chunk of the answer.",
                SECONDS,
            ),
            _histogram(
                meter, f"{of_operation}time_per_output_chunk", "s", "Time waited for each chunk but the first.", SECONDS
            ),
            _histogram(
                meter,
                "promptstream.client.time_per_output_token",
                "s",
                "Time from the first chunk to the end, for each token.",
                PER_TOKEN,
            ),
            _histogram(meter, "gen_ai.client.token.usage", "{token}", "Input and output tokens used.", TOKENS),
            counted,
            meter.create_counter("promptstream.client.cost", "USD", "What was spent, as far as it is known."),
            meter.create_counter("promptstream.client.retries", "{request}", "Requests sent again, or elsewhere."),
            meter.create_up_down_counter("promptstream.client.in_flight", "{request}", "Rounds that are under way."),
        )

    def measure(self, seen: Seen, request: ChatRequest, common: Told, error: str | None) -> None:
        """Record a round that is over; *common* tells it apart, *error* is the class of what it failed with."""
        if request.streaming and seen.first is not None:
            self.first.record(seen.first, common)
        self.duration.record(seen.seconds, common if error is None else {**common, "error.type": error})
        usage = seen.usage
        for kind, count in (("input", usage.input), ("output", usage.output)):
            if count is not None:
                self.tokens.record(count, {**common, "gen_ai.token.type": kind})
        told = {**common, "gen_ai.token.modality": "unknown"}
        for name, counter in self.counted.items():
            if count := _COUNTED[name](usage):
                counter.add(count, told)
        if pace := seen.pace.per_second(usage):
            self.per_token.record(1 / pace, common)
        if seen.cost:
            self.cost.add(float(seen.cost), common)
        if seen.retries:
            self.retries.add(seen.retries, common)


def _histogram(meter: Meter, name: str, unit: str, description: str, buckets: tuple[float, ...]) -> Histogram:
    create: Callable[..., Histogram] = meter.create_histogram
    try:
        return create(name, unit, description, explicit_bucket_boundaries_advisory=buckets)
    except TypeError:  # OpenTelemetry before 1.30 takes no advice
        return create(name, unit, description)
