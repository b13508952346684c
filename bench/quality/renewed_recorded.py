"""Recorded drafts as a stream of requests: audited by the shipped tally, renewed by the shipped rules at several looks.

The filters of `--data`: the confidence is the small model's own, and the reference is the large one's label, so that a
wrong draft is one that the final tier disagrees with. Requests are drawn with replacement from a corpus.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from watching_budget import drafts_by_corpus

from router.audits import Span, Tally
from router.certificate import Certificate
from router.lab.certifying import Wanted, grid_of
from router.lab.renewing import Audited, Line, renew

RUNS = 1_000
RATE = 0.2
LIFE = 400  # requests of one process
LOOKS = 5
EXPOSURE = 30.0  # times 1 / epsilon
NOW = datetime(2026, 3, 1, tzinfo=UTC)
FALSE, USEFUL = "just above epsilon", "half of epsilon"


@dataclass(frozen=True)
class Corpus:
    """Its drafts: float[n] and bool[n]."""

    name: str
    confidence: np.ndarray
    wrong: np.ndarray

    def loss(self, threshold: float) -> float:
        """Per request, of all of it."""
        return float((self.wrong & (self.confidence >= threshold)).mean())

    def accepts(self, threshold: float) -> float:
        """Which share."""
        return float((self.confidence >= threshold).mean())


def corpora(folder: Path) -> Iterator[Corpus]:
    """All of them."""
    for name, drafts in sorted(drafts_by_corpus(folder).items()):
        confidence = np.array([one.confidence for one in drafts])
        yield Corpus(name, confidence, ~np.array([one.right for one in drafts], dtype=bool))


def threshold_of(corpus: Corpus, epsilon: float, aim: str) -> float | None:
    """The strictest whose loss is above epsilon, or the laxest whose loss is at most half of it."""
    grid = grid_of(corpus.confidence)
    losses = np.array([corpus.loss(one) for one in grid])
    if aim == FALSE:
        return float(grid[np.argmax(losses > epsilon)]) if (losses > epsilon).any() else None
    kept = grid[losses <= epsilon / 2]
    return float(kept[-1]) if len(kept) and corpus.accepts(kept[-1]) > 0 else None


def renewals(corpus: Corpus, epsilon: float, delta: float, aim: str) -> dict | None:
    """What becomes of a certificate that serves at such a threshold."""
    served = threshold_of(corpus, epsilon, aim)
    if served is None:
        return None
    line = line_at(served, epsilon, delta)
    wanted = Wanted("disagreement", "recorded", epsilon, line.delta)
    draw = np.random.default_rng(7)
    found = [renewed(corpus, line, wanted, draw) for _ in range(RUNS)]
    certified = [one for one in found if one is not None]
    accepts = [corpus.accepts(one.threshold) for one in certified]
    return {
        "corpus": corpus.name, "epsilon": epsilon, "aim": aim, "runs": RUNS, "delta": line.delta,
        "loss": corpus.loss(served), "accepts": corpus.accepts(served), "renewed": len(certified),
        "kept": sum(one.threshold == served for one in certified),
        "accepts_then": float(np.mean(accepts)) if accepts else 0.0,
        "false": sum(corpus.loss(one.threshold) > epsilon for one in certified),
    }  # fmt: skip


def line_at(threshold: float, epsilon: float, delta: float) -> Line:
    """A certificate of round 1."""
    first = Certificate(
        loss="disagreement", grader="recorded", epsilon=epsilon, delta=delta, threshold=threshold, questions=1,
        accepted=1, losses=0, split="0" * 64, certified_on=date(2026, 1, 1),
    )  # fmt: skip
    return Line(first, "artefact")


def renewed(corpus: Corpus, line: Line, wanted: Wanted, draw: np.random.Generator) -> Certificate | None:
    """The laxest of the certificates at several looks, which is the one that errs most; None where none gave one."""
    kept = list(audits(corpus, line.certificate.threshold, round(EXPOSURE / wanted.epsilon / RATE), draw))
    looks = (round(len(kept) * look / LOOKS) for look in range(1, LOOKS + 1))
    found = [renew(kept[:number], line, wanted, now=NOW) for number in looks if number]
    return min((one for one in found if isinstance(one, Certificate)), key=lambda one: one.threshold, default=None)


def audits(corpus: Corpus, threshold: float, requests: int, draw: np.random.Generator) -> Iterator[Audited]:
    """What a gateway that is started anew now and then keeps of so many requests."""
    drawn = draw.integers(0, len(corpus.wrong), requests)
    is_audited = (corpus.confidence[drawn] >= threshold) & (draw.random(requests) < RATE)
    for start in range(0, requests, LIFE):
        tally, before = Tally[Audited](), start
        for place in np.flatnonzero(is_audited[start : start + LIFE]) + start:
            tally.passed(Span(RATE * (place - before), 0.0, threshold))
            before = place + 1
            one = drawn[place]
            made = Audited(f"{place}", int(place) + 1, 0.0, 0.0, threshold, float(corpus.confidence[one]),
                           bool(corpus.wrong[one]))  # fmt: skip
            for audit, span in tally.ended(tally.began(Span(RATE, 0.0, threshold)), made):
                yield replace(audit, exposure=span.exposure - span.unseen, threshold=span.threshold)
