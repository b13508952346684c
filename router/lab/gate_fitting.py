"""Fits a gate's curves: P(the whole draft is accepted | its first tokens), from recorded drafts. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.answer import Token
from models.prompt import Prompt
from router.evidence import evidence_of
from router.gate import Curve, Gate, log_odds, sigmoid
from router.lab.outcomes import Recorded
from router.policy import Keep, Policy, judge

FEWEST = 50
STEPS = 100
CLOSE_ENOUGH = 1e-9
RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Seen:
    """A recorded draft: its tokens that count as evidence, and whether the policy accepts it."""

    tokens: tuple[Token, ...]
    accepted: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """How a curve does on the drafts that it was fitted on that go on after so many tokens: how many there are and how
    many are accepted; how many would open at `open_at`, and of these how many are rejected in the end."""

    size: int
    drafts: int
    accepted: int
    opened: int
    opened_and_rejected: int


def seen_of(recorded: Iterable[Recorded], policy: Policy, drafter: str) -> list[Seen]:
    """The drafts of that tier that a gate may meet: one free answer with evidence. Raises BadRecord."""
    seen = []
    for one in recorded:
        output = one.outputs.get(drafter)
        draft = None if output is None else output.draft()
        prompt = Prompt(one.request or {}, one.id)
        if draft is None or len(draft.choices) != 1 or prompt.constrains:
            continue
        evidence = evidence_of(draft.choices[0], prompt)
        if not isinstance(evidence, str):
            accepted = isinstance(judge(draft, prompt, policy).verdict, Keep)
            seen.append(Seen(evidence, accepted))
    return seen


def fit_gate(seen: Sequence[Seen], policy: Policy, sizes: Sequence[int], *, model: str) -> Gate:
    """A curve for each size that enough drafts go on after, some of them accepted and some not."""
    curves: dict[int, Curve] = {}
    for size in sizes:
        points = points_at(seen, policy, size)
        kinds = {accepted for _, accepted in points}
        if len(points) >= FEWEST and len(kinds) == 2:
            curves[size] = fit_curve(points)
    return Gate(model, policy.scorer.name, policy.threshold, len(seen), curves)


def points_at(seen: Iterable[Seen], policy: Policy, size: int) -> list[tuple[float, bool]]:
    """The confidence after so many tokens, and whether the whole draft was accepted; of drafts that are longer, and not
    lost by then for sure."""
    points = []
    for draft in seen:
        if len(draft.tokens) <= size:
            continue
        running = policy.scorer.running()
        for token in draft.tokens[:size]:
            running.add(token)
        confidence = policy.scorer.confidence(running.score)
        if not (policy.scorer.only_falls and confidence < policy.threshold):
            points.append((confidence, draft.accepted))
    return points


def fit_curve(points: Sequence[tuple[float, bool]]) -> Curve:
    """Logistic regression on the log-odds of the confidence, by Newton's method, with Platt's targets for 0 and 1.

    Platt, Probabilistic outputs for support vector machines (1999); Lin, Lin and Weng, A note on Platt's probabilistic
    outputs (2007).
    """
    accepted = sum(one for _, one in points)
    high, low = (accepted + 1) / (accepted + 2), 1 / (len(points) - accepted + 2)
    data = [(log_odds(confidence), high if one else low) for confidence, one in points]
    slope, intercept = 0.0, math.log((accepted + 1) / (len(points) - accepted + 1))
    for _ in range(STEPS):
        step = newton_step(data, slope, intercept)
        share = 1.0
        while share > CLOSE_ENOUGH and loss(data, slope - share * step[0], intercept - share * step[1]) > loss(
            data, slope, intercept
        ):
            share /= 2
        slope, intercept = slope - share * step[0], intercept - share * step[1]
        if max(abs(part) for part in step) * share < CLOSE_ENOUGH:
            break
    return Curve(slope, intercept)


def newton_step(data: Sequence[tuple[float, float]], slope: float, intercept: float) -> tuple[float, float]:
    """The gradient over the Hessian of the log loss."""
    g1 = g0 = 0.0
    h11, h10, h00 = RIDGE, 0.0, RIDGE
    for x, target in data:
        p = sigmoid(slope * x + intercept)
        g1, g0 = g1 + (p - target) * x, g0 + p - target
        w = p * (1 - p)
        h11, h10, h00 = h11 + w * x * x, h10 + w * x, h00 + w
    determinant = h11 * h00 - h10 * h10
    return (h00 * g1 - h10 * g0) / determinant, (h11 * g0 - h10 * g1) / determinant


def loss(data: Sequence[tuple[float, float]], slope: float, intercept: float) -> float:
    """The log loss, in nats: log(1 + exp(-z)) + (1 - target) * z."""
    return math.fsum(
        max(-z, 0.0) + math.log1p(math.exp(-abs(z))) + (1 - target) * z
        for z, target in ((slope * x + intercept, target) for x, target in data)
    )


def fits_of(gate: Gate, seen: Sequence[Seen], policy: Policy, *, open_at: float) -> Mapping[int, Fit]:
    """How each curve does."""
    fits = {}
    for size, curve in gate.curves.items():
        points = points_at(seen, policy, size)
        opened = [accepted for confidence, accepted in points if curve.probability(confidence) >= open_at]
        accepted = sum(one for _, one in points)
        fits[size] = Fit(size, len(points), accepted, len(opened), len(opened) - sum(opened))
    return fits
