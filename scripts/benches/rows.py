"""Rows of the result: a value, the baseline it is compared with, and its budget. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

Samples = Sequence[float]


@dataclass(frozen=True, slots=True)
class Budget:
    limit: float
    on: Literal["value", "ratio", "excess"] = "value"
    """What the limit applies to: the value, value / baseline, or value - baseline."""
    at_least: bool = False
    """The limit is a minimum."""

    def met(self, measured: float) -> bool:
        return measured >= self.limit if self.at_least else measured <= self.limit

    def text(self, unit: str) -> str:
        sign = "≥" if self.at_least else "≤"
        plus = "+" if self.on == "excess" else ""
        return f"{sign} {plus}{number(self.limit)} {'x' if self.on == 'ratio' else unit}"


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    what: str
    unit: str
    value: float | None
    """None: not measured, and `how` says why."""
    how: str
    baseline: float | None = None
    against: str = ""
    """What the baseline is."""
    budget: Budget | None = None
    samples: Mapping[str, Samples] = field(default_factory=dict)
    """All samples behind the numbers, by name."""

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.value is not None and self.baseline else None

    @property
    def excess(self) -> float | None:
        return self.value - self.baseline if self.value is not None and self.baseline is not None else None

    @property
    def result(self) -> Literal["met", "missed", "left out", ""]:
        """Return whether the budget is met; "" for a row without a budget."""
        if self.value is None:
            return "left out"
        if self.budget is None:
            return ""
        measured = {"value": self.value, "ratio": self.ratio, "excess": self.excess}[self.budget.on]
        if measured is None:
            return "left out"
        return "met" if self.budget.met(measured) else "missed"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "value": rounded(self.value),
            "baseline": rounded(self.baseline),
            "against": self.against,
            "ratio": rounded(self.ratio),
            "budget": self.budget.text(self.unit) if self.budget else None,
            "result": self.result,
            "how": self.how,
            "samples": {name: summary(samples) for name, samples in self.samples.items()},
        }


def left_out(name: str, what: str, unit: str, why: str) -> Row:
    return Row(name, what, unit, None, why)


def quantile(samples: Samples, q: float) -> float:
    """Return a quantile, interpolated linearly between the two nearest ranks."""
    ordered = sorted(samples)
    place = q * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(samples: Samples) -> float:
    return quantile(samples, 0.5)


def summary(samples: Samples) -> dict[str, float | int | None]:
    if not samples:
        return {"n": 0}
    quantiles = {f"p{q * 100:g}": rounded(quantile(samples, q)) for q in QUANTILES}
    mean = sum(samples) / len(samples)
    return {"n": len(samples), "min": rounded(min(samples)), **quantiles, "max": rounded(max(samples))} | {
        "mean": rounded(mean)
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def number(value: float | None) -> str:
    """Format with three significant digits."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
