"""Recorded questions as a cascade's policy would have met them: what is judged, and what was right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from router.agreement import agreement_of
from router.certificate import Loss
from router.graders import Grader, same_answer
from router.lab.judged import evidence_in, prompt_for
from router.lab.outcomes import P_TRUE, BadRecord, Output, Recorded
from router.policy import Policy
from router.scorers import AskingName, Evidence
from router.words import asked_in

AGREEMENT: AskingName = "agreement"


@dataclass(frozen=True, slots=True)
class Example:
    """One question: the draft's evidence, None where it escalates whatever its score; whether the grader told of both
    answers; whether they are right, and whether they say the same; what both tiers cost; and whether the drafter may
    stream it (one free answer); and what was asked, as the skip-router reads it."""

    id: str
    task: str | None
    evidence: Evidence | None
    is_told: bool
    draft_right: bool
    final_right: bool
    agrees: bool
    draft_cost: float
    final_cost: float
    streams: bool
    asked: str = ""

    @property
    def regret(self) -> bool:
        """Whether accepting this draft loses what the final tier had right."""
        return self.final_right and not self.draft_right

    def loss(self, loss: Loss) -> bool:
        """Whether accepting it is a loss of this kind."""
        return self.regret if loss == "regret" else not self.agrees


class Opinions(Protocol):
    """What was recorded of a question about drafts."""

    def told_of(self, recorded: Recorded, draft: Output) -> "Told":
        """What was said of this one. Raises BadRecord where nobody was asked."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """The name of a question about a draft; what was said, None where nothing can be told; and what that cost."""

    name: AskingName
    value: float | None
    cost: float

    def of(self, example: Example) -> Example:
        """The question with that; a draft that nothing can be told of escalates, as in production."""
        paid = replace(example, draft_cost=example.draft_cost + self.cost)
        if paid.evidence is None or self.value is None:
            return replace(paid, evidence=None)
        said = {**paid.evidence.opinions, self.name: self.value}
        return replace(paid, evidence=replace(paid.evidence, opinions=said))


@dataclass(frozen=True, slots=True)
class Helper:
    """The tier whose answers drafts are compared with, and how."""

    tier: str
    grader: Grader

    def told_of(self, recorded: Recorded, draft: Output) -> Told:
        """Whether they agree. Raises BadRecord."""
        answer = output_of(recorded, self.tier)
        return Told(AGREEMENT, agreement_of(draft.said, answer.said, self.grader), answer.cost or 0.0)


@dataclass(frozen=True, slots=True)
class Confirming:
    """P(True), as it was recorded with the drafts."""

    def told_of(self, recorded: Recorded, draft: Output) -> Told:
        """What it is. Raises BadRecord."""
        opinion = (draft.opinions or {}).get(P_TRUE)
        if opinion is None:
            raise BadRecord(f"question {recorded.id!r} has no P(True) of the draft: record it with --p-true")
        return Told(P_TRUE, opinion.value, opinion.cost or 0.0)


def examples_of(
    recorded: Iterable[Recorded], tiers: Sequence[str], policy: Policy, grader: Grader, asked: Sequence[Opinions] = (),
    *, reads_tokens: bool = True,
) -> list[Example]:  # fmt: skip
    """The questions in their order, as the first tier's drafts and the last one's answers were, with what those who
    were `asked` said of the drafts. Raises BadRecord where a reply is none, a tier or an opinion is missing, or an id
    is there twice. A scorer that does not read tokens judges drafts without them too."""
    drafter, final = tiers[0], tiers[-1]
    found: dict[str, Example] = {}
    for one in recorded:
        if one.id in found:
            raise BadRecord(f"question {one.id!r} is there twice: leave one out")
        draft = output_of(one, drafter)
        example = example_of(one, draft, output_of(one, final), policy, grader, reads_tokens=reads_tokens)
        for opinions in asked:
            example = opinions.told_of(one, draft).of(example)
        found[one.id] = example
    return list(found.values())


def output_of(recorded: Recorded, tier: str) -> Output:
    """What the tier said. Raises BadRecord."""
    if tier not in recorded.outputs:
        raise BadRecord(
            f"question {recorded.id!r} has no answer of tier {tier!r} (there are: {', '.join(recorded.outputs)})"
        )
    return recorded.outputs[tier]


def example_of(
    recorded: Recorded, draft: Output, answer: Output, policy: Policy, grader: Grader, *, reads_tokens: bool
) -> Example:
    """A question; what the grader could not tell counts as what would be lost. Raises BadRecord."""
    prompt = prompt_for(recorded)
    return Example(
        id=recorded.id,
        task=recorded.task,
        evidence=evidence_in(draft, prompt, policy.checks, reads_tokens=reads_tokens),
        is_told=draft.correct is not None and answer.correct is not None,
        draft_right=draft.correct is True,
        final_right=answer.correct is not False,
        agrees=same_answer(draft.said, answer.said, grader) is True,
        draft_cost=draft.cost or 0.0,
        final_cost=answer.cost or 0.0,
        streams=not prompt.constrains,
        asked=asked_in(prompt.fields),
    )
