"""A place where spans and metrics arrive, for the tests of telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from promptstream.middleware import telemetry


@attrs.define(eq=False)
class Desk:
    """Where spans and metrics arrive."""

    spans: InMemorySpanExporter
    tracers: TracerProvider
    reader: InMemoryMetricReader
    meters: MeterProvider

    def layer(self, **options: Any) -> Any:
        """Make the middleware that reports here."""
        return telemetry(self.tracers, self.meters, **options)

    def span(self) -> Any:
        """Give the one span that has ended."""
        [span] = self.spans.get_finished_spans()
        return span

    def metrics(self) -> dict[str, Any]:
        """Give the points of each metric by its name."""
        data = self.reader.get_metrics_data()
        found = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
        return {metric.name: metric for metric in found}


@contextmanager
def reporting() -> Iterator[Desk]:
    """Give a tracer and a meter of the test's own."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider([reader])
    yield Desk(spans, tracers, reader, meters)
    tracers.shutdown()
    meters.shutdown()


def points(desk: Desk, name: str) -> list[Any]:
    """Give the data points of the metric *name*."""
    return list(desk.metrics()[name].data.data_points)
