"""Whether two engines sample alike: a chi-squared test of two samples, and Holm's correction."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import torch
from asking import Answer, handing, question
from servers import Server

SAMPLED_TOKENS = 3
LEAST_EXPECTED = 5.0
FOLLOWED = 0.9

Cells = Counter[Hashable]


def telling(prompts: Sequence[str], answers: Sequence[Answer], count: int) -> list[tuple[str, Sequence[int]]]:
    """The prompts, with their greedy answers, that show most: the first token is nearly sure, so that a draft is
    followed, and the second, the first one to be verified, is as unsure as can be."""
    likely = [torch.tensor(answer.logprobs[:2]).exp().tolist() for answer in answers]
    followed = [
        place for place, (first, *_) in enumerate(likely) if first > FOLLOWED and len(answers[place].tokens) > 2
    ]
    followed.sort(key=lambda place: abs(likely[place][1] - 0.5))
    return [(prompts[place], answers[place].tokens) for place in followed[:count]]


async def sample(server: Server, prompt: str, draft: Sequence[int], *, samples: int) -> Cells:
    """How often each pair of second and third token is drawn at temperature 1."""
    asked = {**question(prompt, max_tokens=SAMPLED_TOKENS), "temperature": 1.0, "n": samples}
    said = await server.post("/v1/chat/completions", {**asked, **(handing(draft) if "handover" in server.name else {})})
    return Counter(tuple(choice["token_ids"][1:]) for choice in said["choices"])


def chi_squared(one: Cells, other: Cells) -> float:
    """The p-value of: both were drawn from one distribution. Cells with few expected draws are one cell."""
    cells = pooled(one, other)
    size, other_size = one.total(), other.total()
    up, down = (other_size / size) ** 0.5, (size / other_size) ** 0.5
    statistic = sum((up * mine - down * theirs) ** 2 / (mine + theirs) for mine, theirs in cells)
    freedom = len(cells) - 1
    return survival(statistic, freedom) if freedom else 1.0


def pooled(one: Cells, other: Cells) -> list[tuple[int, int]]:
    """Each cell's two counts, where both samples expect at least five; the others are added up until they do."""
    total, least = one.total() + other.total(), min(one.total(), other.total())
    cells, rare = [], (0, 0)
    for counts in sorted(((one[cell], other[cell]) for cell in one.keys() | other.keys()), key=sum):
        rare = rare[0] + counts[0], rare[1] + counts[1]
        if sum(rare) * least / total >= LEAST_EXPECTED:
            cells.append(rare)
            rare = (0, 0)
    return cells


def survival(statistic: float, freedom: int) -> float:
    """P(chi-squared with this freedom > statistic), the regularised upper incomplete gamma function."""
    halves = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    return torch.special.gammaincc(halves[0], halves[1]).item()


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: reject those below the level, and the chance of any false rejection stays below it."""
    adjusted, highest = {}, 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, p_value * (len(p_values) - rank)))
        adjusted[name] = highest
    return adjusted
