"""Scorers that were fitted: a logistic regression on a draft's features, and a calibrated one of the fixed scorers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.tokens import Token
from router.calibration import Calibration, sigmoid
from router.features import TOKEN_FEATURES, features_of
from router.graders import grader_of
from router.running import Running
from router.scorers import ALTERNATIVES, AskingName, ConfidenceOf, Evidence, Scorer, ScorerName, scorer_of
from router.text_features import PREFIX, TEXT_FEATURES

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Logistic(BaseModel):
    """A scorer whose score is the log-odds intercept + sum of weight * feature, and whose own confidence is
    1 / (1 + exp(-score)). `answer_by` names the grader that finds the final answer in a draft, for the features that
    are of it; without one they are those of a draft in which none is found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["logistic"] = "logistic"
    names: tuple[str, ...]
    weights: tuple[Finite, ...]
    intercept: Finite
    answer_by: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.names) != len(self.weights) or len(set(self.names)) != len(self.names):
            raise ValueError("a weight for each of the features is wanted")
        unknown = [name for name in self.names if name.startswith(PREFIX) and name not in TEXT_FEATURES]
        if unknown:
            raise ValueError(f"there is no feature {', '.join(unknown)} in this version: tune again")
        if self.answer_by is not None:
            grader_of(self.answer_by)
        return self

    @property
    def opinions(self) -> tuple[str, ...]:
        """The features that somebody must be asked for."""
        return tuple(name for name in self.names if name not in TOKEN_FEATURES and name not in TEXT_FEATURES)

    @property
    def reads_text(self) -> bool:
        """Whether any feature is of the draft's text."""
        return any(name in TEXT_FEATURES for name in self.names)

    @property
    def reads_tokens(self) -> bool:
        """Whether any feature is of the draft's tokens."""
        return any(name in TOKEN_FEATURES for name in self.names)

    def log_odds(self, features: Mapping[str, float]) -> float:
        """The score of these features. Raises KeyError where one is missing."""
        return self.intercept + sum(
            weight * features[name] for name, weight in zip(self.names, self.weights, strict=True)
        )


class Fixed(BaseModel):
    """One of the fixed scorers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fixed"] = "fixed"
    name: ScorerName | AskingName


Base = Annotated[Logistic | Fixed, Field(discriminator="kind")]


class RunningLogistic:
    """The score of the features so far."""

    def __init__(self, logistic: Logistic) -> None:
        self._logistic = logistic
        self._features = {name: TOKEN_FEATURES[name]() for name in logistic.names}

    def add(self, token: Token) -> None:
        """One more token."""
        for running in self._features.values():
            running.add(token)

    @property
    def score(self) -> float:
        """The log-odds."""
        return self._logistic.log_odds({name: running.score for name, running in self._features.items()})


def base_scorer(base: Logistic | Fixed) -> Scorer:
    """The scorer before calibration."""
    if isinstance(base, Fixed):
        return scorer_of(base.name)
    reader = None if base.answer_by is None else grader_of(base.answer_by)
    whole_alone = base.reads_text or bool(base.opinions)
    running: Callable[[], Running] | None = None if whole_alone else lambda: RunningLogistic(base)

    def score(evidence: Evidence) -> float:
        return base.log_odds(features_of(evidence, base.names, reader))

    return Scorer(
        "fitted", score, sigmoid, alternatives_for(base.names), running,
        opinions=base.opinions, reads_tokens=base.reads_tokens, reads_text=base.reads_text,
    )  # fmt: skip


def alternatives_for(names: Sequence[str]) -> int:
    """How many alternatives a token these features read."""
    return ALTERNATIVES if any("margin" in name or "entropy" in name for name in names) else 0


def calibrated(scorer: Scorer, calibration: Calibration, of: ConfidenceOf) -> Scorer:
    """The scorer with a probability as its confidence."""
    raw = scorer.confidence
    return replace(scorer, confidence=lambda score: calibration.probability(raw(score)), confidence_of=of)
