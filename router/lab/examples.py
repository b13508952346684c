"""Recorded questions as a cascade's policy would have met them: what is judged, and what was right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from models.prompt import Prompt
from router.agreement import agreement_of
from router.certificate import Loss
from router.graders import Grader, same_answer
from router.lab.judged import evidence_in
from router.lab.outcomes import BadRecord, Output, Recorded
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


@dataclass(frozen=True, slots=True)
class Helper:
    """The tier whose answers drafts are compared with, and how."""

    tier: str
    grader: Grader

    def asked_of(self, example: Example, recorded: Recorded, draft: Output) -> Example:
        """With the opinion `agreement`, and what it cost; a draft that nothing can be told of escalates, as in
        production. Raises BadRecord."""
        answer = output_of(recorded, self.tier)
        paid = replace(example, draft_cost=example.draft_cost + (answer.cost or 0.0))
        if paid.evidence is None:
            return paid
        said = agreement_of(draft.text or "", answer.text or "", self.grader)
        return replace(paid, evidence=None if said is None else replace(paid.evidence, opinions={AGREEMENT: said}))


def examples_of(
    recorded: Iterable[Recorded], tiers: Sequence[str], policy: Policy, grader: Grader, helper: Helper | None = None,
    *, reads_tokens: bool = True,
) -> list[Example]:  # fmt: skip
    """The questions in their order, as the first tier's drafts and the last one's answers were. Raises BadRecord where
    a reply is none, a tier is missing, or an id is there twice. A scorer that does not read tokens judges drafts
    without them too."""
    drafter, final = tiers[0], tiers[-1]
    found: dict[str, Example] = {}
    for one in recorded:
        if one.id in found:
            raise BadRecord(f"question {one.id!r} is there twice: leave one out")
        example = example_of(
            one, output_of(one, drafter), output_of(one, final), policy, grader, reads_tokens=reads_tokens
        )
        found[one.id] = example if helper is None else helper.asked_of(example, one, output_of(one, drafter))
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
    prompt = Prompt({**(recorded.request or {})}, recorded.id)
    return Example(
        id=recorded.id,
        task=recorded.task,
        evidence=evidence_in(draft, prompt, policy.checks, reads_tokens=reads_tokens),
        is_told=draft.correct is not None and answer.correct is not None,
        draft_right=draft.correct is True,
        final_right=answer.correct is not False,
        agrees=same_answer(draft.text or "", answer.text or "", grader) is True,
        draft_cost=draft.cost or 0.0,
        final_cost=answer.cost or 0.0,
        streams=not prompt.constrains,
        asked=asked_in(prompt.fields),
    )
