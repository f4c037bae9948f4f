"""A text file of metrics, as Prometheus reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


def values(file: Path) -> Any:
    """Looks up the single value of a volflow metric with some labels."""
    families = text_string_to_metric_families(file.read_text())
    samples = [sample for family in families for sample in family.samples]

    def value(name: str, **labels: str) -> float:
        (found,) = [
            sample.value
            for sample in samples
            if sample.name == f"volflow_{name}" and labels.items() <= sample.labels.items()
        ]
        return float(found)

    return value
