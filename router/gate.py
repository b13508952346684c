"""The gate's fitted map: how likely the whole of a draft will be accepted, from its first tokens. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import orjson

from router.scorers import ScorerName

LEAST = 1e-6
MOST_TOKENS = 1_000_000
KIND = "smallfirst-gate-1"


@dataclass(frozen=True, slots=True)
class Curve:
    """P(accepted | confidence so far) = 1 / (1 + exp(-(slope * log-odds + intercept))), over the log-odds of the
    confidence (Platt, 1999)."""

    slope: float
    intercept: float

    def probability(self, confidence: float) -> float:
        """In (0, 1), for a confidence in [0, 1]."""
        return sigmoid(self.slope * log_odds(confidence) + self.intercept)


@dataclass(frozen=True, slots=True)
class Gate:
    """A curve for each number of first tokens that it was fitted for, and what it was fitted on: a drafter's model, a
    scorer, a threshold, and so many recorded answers."""

    model: str
    scorer: ScorerName
    threshold: float
    answers: int
    curves: Mapping[int, Curve]

    def sizes_from(self, tokens: int) -> tuple[int, ...]:
        """The fitted numbers of first tokens, from this one on, in order."""
        return tuple(size for size in sorted(self.curves) if size >= tokens)


OnDoubt = Literal["hold", "continue", "finish"]


@dataclass(frozen=True, slots=True)
class StreamRules:
    """When the text of a draft is shown. `hold`: when it is accepted. Else when the gate opens: at `gate_tokens`, or at
    a later size that the gate was fitted for, if P(the whole draft will be accepted) is at least `open_at`; if doubt
    comes later, the final tier goes on after what was shown (`continue`), or the drafter does (`finish`).

    A draft whose P is at most `stop_at` is given up at once, also where the client does not stream; None: never.
    """

    on_doubt: OnDoubt = "hold"
    gate_tokens: int = 24
    holdback_tokens: int = 16
    open_at: float = 0.5
    stop_at: float | None = None
    gate: Gate | None = None


def gate_of(written: bytes) -> Gate:
    """The gate in the file that `smallfirst gate fit` wrote. Raises ValueError where it is none."""
    try:
        said = orjson.loads(written)
        curves = {int(size): Curve(float(curve["slope"]), float(curve["intercept"]))
                  for size, curve in said["curves"].items()}  # fmt: skip
        gate = Gate(str(said["model"]), said["scorer"], float(said["threshold"]), int(said["answers"]), curves)
        if said["kind"] != KIND or gate.scorer not in get_args(ScorerName) or not all(map(is_sane, curves.items())):
            raise ValueError("it says other things")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as wrong:
        raise ValueError(f"no gate that `smallfirst gate fit` wrote ({type(wrong).__name__})") from wrong
    return gate


def is_sane(sized: tuple[int, Curve]) -> bool:
    """Whether a curve is of one token at least, and of numbers."""
    size, curve = sized
    return 1 <= size <= MOST_TOKENS and math.isfinite(curve.slope) and math.isfinite(curve.intercept)


def written(gate: Gate) -> bytes:
    """The gate as a file."""
    curves = {str(size): {"slope": curve.slope, "intercept": curve.intercept} for size, curve in gate.curves.items()}
    said = {"kind": KIND, "model": gate.model, "scorer": gate.scorer, "threshold": gate.threshold,
            "answers": gate.answers, "curves": curves}  # fmt: skip
    return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


HOLD = StreamRules()


def log_odds(probability: float) -> float:
    """ln(p / (1 - p)), for p kept off 0 and 1 by a millionth."""
    kept = min(max(probability, LEAST), 1 - LEAST)
    return math.log(kept) - math.log1p(-kept)


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), whatever the value."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
