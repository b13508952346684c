"""Who answered what `smallfirst tune` fits to: the tiers, and those who were asked about drafts. One of each, and the
one that the configuration names."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from router.graders import grader_of
from router.lab.examples import AGREEMENT, Confirming, Helper, Opinions
from router.lab.outcomes import BadRecord, Opinion, Output, Recorded
from router.lab.recording import SEVERAL
from router.lab.seen import mark_of, sketch_of
from router.lab.tuning import Wanted
from router.scorers import AskingName
from router.trust import OpinionPrint, TierPrint
from server.settings.asking import OpinionSettings
from server.settings.cascade import CascadeSettings
from server.settings.reading import SettingsError
from server.settings.schema import Settings

ASKING: tuple[AskingName, ...] = get_args(AskingName)


class Prints:
    """Who answered under each tier's name, and each question about drafts; and to which questions."""

    def __init__(self) -> None:
        self._models: defaultdict[str, set[str]] = defaultdict(set)
        self._fingerprints: defaultdict[str, set[str]] = defaultdict(set)
        self._graders: set[str] = set()
        self._marks: set[str] = set()

    def noted(self, recorded: Iterable[Recorded], drafter: str) -> Iterator[Recorded]:
        """The questions as they are."""
        for one in recorded:
            self._graders.add(one.graded_by or "unnamed")
            self._marks.add(mark_of(one))
            for tier, output in one.outputs.items():
                self._note(whose(tier), output)
            opinions = one.outputs[drafter].opinions if drafter in one.outputs else None
            for name, opinion in (opinions or {}).items():
                self._note(about(name), opinion)
            yield one

    def _note(self, who: str, said: Output | Opinion) -> None:
        self._models[who].add(said.model)
        if said.fingerprint is not None:
            self._fingerprints[who].add(said.fingerprint)

    @property
    def grader(self) -> str:
        """What told which answers are right."""
        return " and ".join(sorted(self._graders))

    @property
    def questions(self) -> str:
        """A sketch of the questions."""
        return sketch_of(self._marks)

    def fingerprint(self, who: str) -> str | None:
        """Of the servers there, where they were recorded and had one."""
        return next(iter(self._fingerprints[who]), None)

    def of(self, who: str, model: str) -> TierPrint:
        """The one model that answered there. Raises BadRecord where it is another, or several."""
        models, fingerprints = self._models[who] | {model}, self._fingerprints[who]
        if len(models) > 1 or len(fingerprints) > 1 or any(SEVERAL in one for one in fingerprints):
            several = " from several servers that are not alike" if len(models) == 1 else ""
            raise BadRecord(
                f"{who} was recorded with {' and '.join(sorted(self._models[who]))}{several}, and the"
                f" configuration has {model}: record it again, from one"
            )
        return TierPrint(model=model, fingerprint=next(iter(fingerprints), None))


def whose(tier: str) -> str:
    """A tier's answers, in words."""
    return f"tier {tier!r}"


def about(name: str) -> str:
    """What was said of drafts, in words."""
    return f"the opinion {name!r}"


@dataclass(frozen=True, slots=True)
class Question:
    """A question about drafts that the scorer reads the answer of: its name, the tier that is asked, and the grader
    where answers are compared."""

    name: AskingName
    tier: str
    grader: str | None


def asked_of(cascade: CascadeSettings, wanted: Wanted) -> Sequence[Question]:
    """The questions that the features name, as the cascade asks them. Raises SettingsError."""
    names = [name for name in ASKING if wanted.scorer is None and name in wanted.features]
    return [question_of(name, cascade.opinions.get(name), cascade.tiers[0]) for name in names]


def question_of(name: AskingName, asked: OpinionSettings | None, drafter: str) -> Question:
    """As it is asked in production. Raises SettingsError where nobody is."""
    if asked is None and name == AGREEMENT:
        raise SettingsError(["--features: agreement needs a helper: name its tier in the cascade's opinions.agreement"])
    if asked is None:
        raise SettingsError([f"--features: say who answers {name}, in the cascade's opinions: {{{name}: {{}}}}"])
    return Question(name, asked.tier or drafter, asked.grader)


def opinions_in(question: Question) -> Opinions:
    """Its answers, as they were recorded."""
    return Confirming() if question.grader is None else Helper(question.tier, grader_of(question.grader))


def opinion_prints(settings: Settings, prints: Prints, asked: Sequence[Question]) -> Mapping[str, OpinionPrint]:
    """Who answered the questions about drafts that are fitted on. Raises BadRecord where that was another model."""
    return {question.name: opinion_print(settings, prints, question) for question in asked}


def opinion_print(settings: Settings, prints: Prints, question: Question) -> OpinionPrint:
    """Of one question: the helper's answers were recorded as a tier's. Raises BadRecord."""
    who = about(question.name) if question.grader is None else whose(question.tier)
    found = prints.of(who, settings.tiers[question.tier].model)
    return OpinionPrint(model=found.model, grader=question.grader, fingerprint=found.fingerprint)
