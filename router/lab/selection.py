"""Which recorded questions can be compared, and who plays which part in them."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.lab.outcomes import Recorded


class CannotEvaluate(Exception):
    """The questions do not do for a comparison."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of who drafts, who has the last word, and whose answer is compared with the draft's, if anybody's."""

    draft: str
    final: str
    helper: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (self.draft, self.final) if self.helper is None else (self.draft, self.final, self.helper)


def usable(recorded: Sequence[Recorded], roles: Roles) -> list[Recorded]:
    """The questions that both tiers answered and that were graded, and the helper answered where there is one. Raises
    CannotEvaluate where there is none, or an id comes twice."""
    known = {name for one in recorded for name in one.outputs}
    for name in roles.names:
        if name not in known:
            raise CannotEvaluate(
                f"no question has an answer of {name!r} (there are: {', '.join(sorted(known)) or 'none'})"
            )
    refuse_twice(recorded)
    answered = [one for one in recorded if all(name in one.outputs for name in roles.names)]
    graded = [
        one for one in answered if all(one.outputs[name].correct is not None for name in (roles.draft, roles.final))
    ]
    if not graded:
        raise CannotEvaluate(
            f"none of {len(recorded)} questions has graded answers of both {roles.draft!r} and {roles.final!r}: grade"
            " them with `smallfirst grade`"
        )
    return graded


def refuse_twice(recorded: Sequence[Recorded]) -> None:
    """Raise CannotEvaluate where a question comes twice: it would count as two independent ones."""
    seen: set[tuple[str | None, str]] = set()
    for one in recorded:
        if (one.task, one.id) in seen:
            raise CannotEvaluate(f"question {one.id!r} comes twice")
        seen.add((one.task, one.id))
