"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "gar_video"}
        self.requests = Counter(
            "requests", "Requests by route and status.", ["route", "method", "status"], **own
        )
        self.seconds = Histogram(
            "request_seconds", "Seconds from a request to the end of its answer.", ["route"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300), **own,
        )  # fmt: skip
        self.batch = Histogram(
            "batch_jobs", "Requests that were answered together.",
            buckets=(1, 2, 4, 8, 16, 32, 64), **own,
        )  # fmt: skip
        self.busy = Counter("model_seconds", "Seconds in which the model worked.", **own)
        self.tokens = Counter("tokens", "Tokens read and generated.", ["kind"], **own)
        self._gauges: list[Gauge] = []

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that is read when it is asked for."""
        gauge = Gauge(name, text, registry=self.registry, namespace="gar_video")
        gauge.set_function(value)
        self._gauges.append(gauge)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self.registry)
