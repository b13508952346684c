"""Recorded questions as a cascade's policy would have met them: what is judged, and what was right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.prompt import Prompt
from router.certificate import Loss
from router.checks import failed_check
from router.evidence import evidence_of
from router.graders import Grader, same_answer
from router.lab.outcomes import BadRecord, Output, Recorded
from router.policy import Policy
from router.scorers import Evidence


@dataclass(frozen=True, slots=True)
class Example:
    """One question: the draft's evidence, None where it escalates whatever its score; whether the draft and the final
    answer were right, and whether they say the same; what both tiers cost; and whether the drafter may stream it (one
    free answer)."""

    id: str
    task: str | None
    evidence: Evidence | None
    draft_right: bool
    final_right: bool
    agrees: bool
    draft_cost: float
    final_cost: float
    streams: bool

    @property
    def regret(self) -> bool:
        """Whether accepting this draft loses what the final tier had right."""
        return self.final_right and not self.draft_right

    def loss(self, loss: Loss) -> bool:
        """Whether accepting it is a loss of this kind."""
        return self.regret if loss == "regret" else not self.agrees


@dataclass(frozen=True, slots=True)
class Unusable:
    """How many questions cannot be learned from: those that were not graded, and those without the drafter's reply."""

    ungraded: int
    without_reply: int


def examples_of(
    recorded: Iterable[Recorded], tiers: Sequence[str], policy: Policy, grader: Grader
) -> tuple[list[Example], Unusable]:
    """The usable ones in their order, each id once; of the first tier's drafts and the last one's answers. Raises
    BadRecord where a reply is none, or a tier is missing."""
    drafter, final = tiers[0], tiers[-1]
    found: dict[str, Example] = {}
    ungraded = without_reply = 0
    for one in recorded:
        draft, answer = output_of(one, drafter), output_of(one, final)
        if draft.correct is None or answer.correct is None:
            ungraded += 1
        elif draft.reply is None:
            without_reply += 1
        else:
            found[one.id] = example_of(one, draft, answer, policy, grader)
    return list(found.values()), Unusable(ungraded, without_reply)


def output_of(recorded: Recorded, tier: str) -> Output:
    """What the tier said. Raises BadRecord."""
    if tier not in recorded.outputs:
        raise BadRecord(
            f"question {recorded.id!r} has no answer of tier {tier!r} (there are: {', '.join(recorded.outputs)})"
        )
    return recorded.outputs[tier]


def example_of(recorded: Recorded, draft: Output, answer: Output, policy: Policy, grader: Grader) -> Example:
    """A graded question. Raises BadRecord."""
    prompt = Prompt({**(recorded.request or {})}, recorded.id)
    said = draft.draft()
    choices = said.choices if said is not None else ()
    evidence = None
    if len(choices) == 1 and failed_check(choices, prompt, policy.checks) is None:
        found = evidence_of(choices[0], prompt)
        evidence = None if isinstance(found, str) else found
    return Example(
        id=recorded.id,
        task=recorded.task,
        evidence=evidence,
        draft_right=bool(draft.correct),
        final_right=bool(answer.correct),
        agrees=same_answer(draft.text or "", answer.text or "", grader) is True,
        draft_cost=draft.cost or 0.0,
        final_cost=answer.cost or 0.0,
        streams=not prompt.constrains,
    )
