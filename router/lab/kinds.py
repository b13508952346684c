"""Which questions are of one kind of request, and have enough of it to be fitted and certified for themselves."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from router.clusters import Centroids
from router.lab.cluster_fitting import Clustered, fit_centroids, found_groups
from router.lab.examples import Example
from router.lab.fitting import CannotFit
from router.trust import NAMED

FEWEST = 100
OF_EACH = 20

Parts = Mapping[str, tuple[list[Example], list[Example]]]


@dataclass(frozen=True, slots=True)
class Kinds:
    """By kind, the questions to fit on and those to certify on; and what tells the kind of a request that does not name
    it, None where it has to be named."""

    parts: Parts = field(default_factory=dict)
    words: Centroids | None = None


def by_task(fitting: Sequence[Example], certifying: Sequence[Example]) -> Kinds:
    """As the questions name their tasks; a request can name no other."""
    of_fitting, of_certifying = ([nameable(one.task) for one in part] for part in (fitting, certifying))
    return Kinds(parts_of(fitting, of_fitting, certifying, of_certifying, able(fitting, of_fitting)))


def by_words(
    fitting: Sequence[Example], certifying: Sequence[Example], wanted: int | Literal["task"], *, seed: int
) -> Kinds:
    """As a function tells from their words, which is fitted to the tasks that the questions to fit on name, or to so
    many groups that are found in them; the questions to certify on have no part in it, and are of the kind that it
    tells, as requests will be. Questions to fit on are of the kind that a fit tells which has not seen them. Raises
    CannotFit where no kind has enough."""
    prompts = [one.asked for one in fitting]
    labels = [nameable(one.task) for one in fitting] if wanted == "task" else found_groups(prompts, wanted, seed=seed)
    names = able(fitting, labels)
    while names:
        told = fit_centroids(prompts, [one if one in names else None for one in labels], seed=seed)
        enough = able(fitting, told.unseen)
        if enough == names:
            return told_apart(fitting, certifying, told)
        names = enough
    raise CannotFit(
        f"no kind of request has {FEWEST} questions, {OF_EACH} right drafts and {OF_EACH} wrong ones among them, that"
        " their words tell: name the questions' `task`, or take more of them"
    )


def nameable(task: str | None) -> str | None:
    """A task's name, where a request can name it."""
    return task if task is not None and re.fullmatch(NAMED, task) else None


def told_apart(fitting: Sequence[Example], certifying: Sequence[Example], told: Clustered) -> Kinds:
    """The kinds that the function knows."""
    of_certifying = [told.centroids.cluster(one.asked) for one in certifying]
    names = sorted(told.centroids.centroids)
    return Kinds(parts_of(fitting, told.unseen, certifying, of_certifying, names), told.centroids)


def able(examples: Sequence[Example], kinds: Sequence[str | None]) -> list[str]:
    """The kinds with enough drafts that can be scored, right and wrong ones among them, to be fitted alone."""
    counts = Counter(
        (kind, one.draft_right) for one, kind in zip(examples, kinds, strict=True) if one.evidence is not None
    )
    of_both = {kind: (counts[kind, True], counts[kind, False]) for kind, _ in counts if kind is not None}
    return sorted(kind for kind, both in of_both.items() if sum(both) >= FEWEST and min(both) >= OF_EACH)


def parts_of(
    fitting: Sequence[Example],
    of_fitting: Sequence[str | None],
    certifying: Sequence[Example],
    of_certifying: Sequence[str | None],
    names: Sequence[str],
) -> Parts:
    """The questions of each of these kinds."""
    return {name: (those_of(fitting, of_fitting, name), those_of(certifying, of_certifying, name)) for name in names}


def those_of(examples: Sequence[Example], kinds: Sequence[str | None], name: str) -> list[Example]:
    """The questions of one kind."""
    return [one for one, kind in zip(examples, kinds, strict=True) if kind == name]
