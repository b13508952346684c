"""The next token from logits, and what to report about it. Pure but for the generators' state."""

from collections.abc import Iterable, Sequence
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


def choose(
    logits: Tensor,
    drafts: Sequence[Sequence[int]],
    rules: Sequence[Sampling],
    generators: Sequence[torch.Generator],
) -> list[list[int]]:
    """The tokens that each row writes after the columns of `logits` [rows, columns, vocabulary].

    Row i's columns are its last token and then `drafts[i]`. Every token is drawn as it would be without a draft, and
    the row goes on while it is the draft's: the acceptance rule of Leviathan et al. 2023 (arXiv 2211.17192) for a
    draft without probabilities, and of one random stream the very tokens that plain steps draw. Of equally likely
    tokens greedy takes the lowest.
    """
    likely: list[list[int]] = logits.argmax(dim=-1).tolist()
    written = []
    for row, (draft, rule, generator) in enumerate(zip(drafts, rules, generators, strict=True)):
        draws = likely[row] if is_greedy(rule.temperature) else (_draw(each, rule, generator) for each in logits[row])
        written.append(_up_to_deviation(draft, draws))
    return written


def score(logits: Tensor, written: Sequence[Sequence[int]], tops: Sequence[int | None]) -> list[list[Score | None]]:
    """Scores of what `choose` made of `logits`, for the rows whose `tops` asks for that many alternatives."""
    scores: list[list[Score | None]] = [[None] * len(tokens) for tokens in written]
    places = [(row, column) for row, top in enumerate(tops) if top is not None for column in range(len(written[row]))]
    if not places:
        return scores
    chosen = [written[row][column] for row, column in places]
    rows, columns = ([place[axis] for place in places] for axis in (0, 1))
    logprobs = logits[rows, columns].log_softmax(dim=-1).clamp(min=_LOWEST_LOGPROB)
    best, ids = logprobs.topk(min(max(tops[row] or 0 for row, _ in places), logprobs.shape[-1]))
    of_chosen = logprobs[range(len(places)), chosen].tolist()
    for (row, column), logprob, top_ids, top in zip(places, of_chosen, ids.tolist(), best.tolist(), strict=True):
        ranked = tuple(zip(top_ids, top, strict=True))[: tops[row]]
        scores[row][column] = Score(logprob=logprob, top=ranked)
    return scores


def _up_to_deviation(draft: Sequence[int], draws: Iterable[int]) -> list[int]:
    """Draws no token after the first that is not the draft's."""
    written: list[int] = []
    for proposed, token in zip((*draft, None), draws, strict=False):
        written.append(token)
        if token != proposed:
            break
    return written


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
