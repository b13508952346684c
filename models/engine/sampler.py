"""The next token from logits, and what to report about it. Pure but for the generators' state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.engine.generation import Sampling

# As vLLM: below the first a temperature is greedy, below the second it is raised to it.
_GREEDY_BELOW: Final = 1e-5
_LOWEST_TEMPERATURE: Final = 1e-2
_LOWEST_LOGPROB: Final = -9999.0
# A smaller `top_p` would be zero in float32, and leave no token at all.
_SMALLEST_SHARE: Final = 1e-30


@dataclass(frozen=True, slots=True)
class Score:
    """Raw log-probability of the chosen token, and the most likely tokens, best first."""

    logprob: float
    top: tuple[tuple[int, float], ...]


def is_greedy(temperature: float) -> bool:
    """Whether the most likely token is taken."""
    return temperature < _GREEDY_BELOW


def choose(logits: Tensor, rules: Sequence[Sampling], generators: Sequence[torch.Generator]) -> list[int]:
    """One token id per row of `logits` [rows, vocabulary]; of equal ones the lowest when greedy."""
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    for row, (rule, generator) in enumerate(zip(rules, generators, strict=True)):
        if not is_greedy(rule.temperature):
            chosen[row] = _draw(logits[row], rule, generator)
    return chosen


def score(logits: Tensor, chosen: Sequence[int], tops: Sequence[int | None]) -> list[Score | None]:
    """Scores of the rows whose `tops` asks for that many alternatives; `logits` as in `choose`."""
    rows = [row for row, top in enumerate(tops) if top is not None]
    scores: list[Score | None] = [None] * len(tops)
    if not rows:
        return scores
    logprobs = logits[rows].log_softmax(dim=-1).clamp(min=_LOWEST_LOGPROB)
    best, ids = logprobs.topk(min(max(tops[row] or 0 for row in rows), logprobs.shape[-1]))
    of_chosen = logprobs[range(len(rows)), [chosen[row] for row in rows]].tolist()
    for row, logprob, top_ids, top in zip(rows, of_chosen, ids.tolist(), best.tolist(), strict=True):
        ranked = tuple(zip(top_ids, top, strict=True))[: tops[row]]
        scores[row] = Score(logprob=logprob, top=ranked)
    return scores


def _draw(logits: Tensor, rule: Sampling, generator: torch.Generator) -> int:
    scaled = logits / max(rule.temperature, _LOWEST_TEMPERATURE)
    if rule.top_k <= 0 and rule.top_p >= 1:
        return _pick(scaled, generator)
    ordered, ids = scaled.sort(descending=True, stable=True)
    if rule.top_k > 0:
        kth = ordered[min(rule.top_k, len(ordered)) - 1]
        ordered = ordered.masked_fill(ordered < kth, -torch.inf)
    likely = ordered.softmax(dim=-1)
    before = likely.cumsum(dim=-1) - likely
    ordered = ordered.masked_fill(before >= max(rule.top_p, _SMALLEST_SHARE), -torch.inf)
    return int(ids[_pick(ordered, generator)])


def _pick(logits: Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial(logits.softmax(dim=-1), 1, generator=generator))
