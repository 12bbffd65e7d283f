"""What a server measures, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "homerec_requests", "Requests", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "homerec_request_seconds",
            "Seconds from the first byte of a request to its answer",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.rejected = Counter(
            "homerec_rejected", "Requests with an error, by its code", ["code"], registry=registry
        )
        self.candidates = Counter(
            "homerec_candidates", "Candidates that were scored", registry=registry
        )
        self._unknown = Counter(
            "homerec_unknown_ids", "Ids outside the vocabulary", ["feature"], registry=registry
        )
        self._missing = Counter(
            "homerec_missing_keys", "Keys that the store lacks", ["key"], registry=registry
        )
        self._model = Gauge(
            "homerec_model_info",
            "The model that serves",
            ["digest", "tower", "formula_version"],
            registry=registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a metric whose value is asked for when it is read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def count(self, unknown: Counts[str], missing: Counts[str]) -> None:
        """Add to the numbers of unknown ids, and of keys that the store lacks."""
        for feature, count in unknown.items():
            self._unknown.labels(feature).inc(count)
        for key, count in missing.items():
            self._missing.labels(key).inc(count)

    def set_model(self, digest: str, tower: str, formula_version: int) -> None:
        """Replace what is said about the model."""
        self._model.clear()
        self._model.labels(digest, tower, str(formula_version)).set(1)

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self.registry)
