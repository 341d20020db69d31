"""What was measured: rows with a value, what it is compared with, and the budget it has. Pure.

A budget is on the value itself, on its ratio to the baseline, or on how far it is over the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

Samples = Sequence[float]


@dataclass(frozen=True, slots=True)
class Budget:
    """`on`: value, ratio (value / baseline) or excess (value - baseline). `at_least` turns the limit round."""

    limit: float
    on: Literal["value", "ratio", "excess"] = "value"
    at_least: bool = False

    def met(self, measured: float) -> bool:
        return measured >= self.limit if self.at_least else measured <= self.limit

    def said(self, unit: str) -> str:
        sign = "≥" if self.at_least else "≤"
        plus = "+" if self.on == "excess" else ""
        return f"{sign} {plus}{number(self.limit)} {'x' if self.on == 'ratio' else unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """`value` None: left out, and `how` says why. `samples`: everything the numbers came from, by name."""

    name: str
    what: str
    unit: str
    value: float | None
    how: str
    baseline: float | None = None
    against: str = ""
    budget: Budget | None = None
    samples: Mapping[str, Samples] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.value is not None and self.baseline else None

    @property
    def excess(self) -> float | None:
        return self.value - self.baseline if self.value is not None and self.baseline is not None else None

    @property
    def verdict(self) -> Literal["met", "missed", "left out", ""]:
        """Empty where there is no budget: such a row is there to compare."""
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
            "budget": self.budget.said(self.unit) if self.budget else None,
            "verdict": self.verdict,
            "how": self.how,
            "samples": {name: summary(samples) for name, samples in self.samples.items()},
        }


def left_out(name: str, what: str, unit: str, why: str) -> Row:
    return Row(name, what, unit, None, why)


def quantile(samples: Samples, q: float) -> float:
    """Linear between the two nearest ranks, as spreadsheets do it."""
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
    """Three digits that mean something, and no more."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
