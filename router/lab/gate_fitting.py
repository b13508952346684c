"""Fits a gate's curves: P(the whole draft is accepted | its first tokens), from recorded drafts. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.tokens import Tokens
from router.gate import Gate
from router.lab.calibrating import fit_platt
from router.scorers import Scorer

FEWEST = 50


@dataclass(frozen=True, slots=True)
class Seen:
    """A recorded draft of one free answer: its tokens that count as evidence, and whether it is accepted."""

    tokens: Tokens
    accepted: bool


def fit_gate(seen: Sequence[Seen], scorer: Scorer, threshold: float, sizes: Sequence[int]) -> Gate | None:
    """A curve for each size that enough drafts go on after, some of them accepted and some not; None where there is no
    such size, or the scorer reads whole drafts alone."""
    curves = {}
    for size in sizes:
        confidences, accepted = points_at(seen, scorer, threshold, size)
        if len(accepted) >= FEWEST and len(set(accepted)) == 2:
            curves[size] = fit_platt(np.array(confidences), np.array(accepted))
    return Gate(threshold=threshold, answers=len(seen), curves=curves) if curves else None


def points_at(
    seen: Iterable[Seen], scorer: Scorer, threshold: float, size: int
) -> tuple[Sequence[float], Sequence[bool]]:
    """The confidence after so many tokens, and whether the whole draft was accepted; of drafts that are longer, and not
    lost by then for sure."""
    confidences, accepted = [], []
    for draft in seen:
        if len(draft.tokens) <= size or scorer.running is None:
            continue
        running = scorer.running()
        for token in draft.tokens[:size]:
            running.add(token)
        confidence = scorer.confidence(running.score)
        if not (scorer.only_falls and confidence < threshold):
            confidences.append(confidence)
            accepted.append(draft.accepted)
    return confidences, accepted
