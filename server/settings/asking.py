"""What a cascade asks beside its drafts: models for opinions that scorers read, the final tier for its verdict, and the
prompt for whether a draft is worth asking for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from router.graders import grader_of
from router.scorers import AskingName
from router.skipping import Foresight, PromptGain
from router.trust import OpinionPrint
from router.verdict import Band
from server.settings.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


def frozen(value: object) -> object:
    """A list as a tuple; YAML has lists alone."""
    return tuple(value) if isinstance(value, list) else value


class OpinionSettings(Section):
    """Who answers a question about a draft, and how two answers are compared where that is the question."""

    tier: str | None = None
    grader: str | None = None

    @model_validator(mode="after")
    def _has_a_grader(self) -> Self:
        if self.grader is not None:
            grader_of(self.grader)
        return self


class VerdictSettings(Section):
    """In which band of confidences the final tier is asked whether a draft is right, and how sure it must be."""

    band: Annotated[tuple[Share, Share], BeforeValidator(frozen)]
    at: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.band[0] >= self.band[1]:
            raise ValueError("band: it begins below its end: [0.6, 0.8]")
        return self

    @property
    def rule(self) -> Band:
        """As drafts are judged by it."""
        low, high = self.band
        return Band(low=low, high=high, at=self.at)


class SkipSettings(Section):
    """Below which confidence before generation the first tier is not asked; and whose embeddings tell it, where the
    artefact scores these."""

    below: Annotated[float, Field(gt=0, le=1)]
    embeddings: str | None = None


def refuse_unasked(scorers: Iterable[str], opinions: Mapping[AskingName, OpinionSettings]) -> None:
    """Raise ValueError where a scorer reads the answer to a question that nobody is asked."""
    for name in scorers:
        if name not in opinions:
            known = ", ".join(opinions) or "none"
            raise ValueError(f"opinions: the scorer asks {name!r}: say who answers that (there are: {known})")


def refuse_odd_opinions(
    where: str, opinions: Mapping[AskingName, OpinionSettings], among: Sequence[str], tiers: Iterable[str]
) -> None:
    """Raise ValueError where a question cannot be asked as it is set, in a cascade of the tiers `among`."""
    known = tuple(tiers)
    for name, opinion in opinions.items():
        path = f"{where}.{name}"
        if opinion.tier is not None and opinion.tier not in known:
            raise ValueError(f"{path}.tier: there is no tier {opinion.tier!r} (tiers: {', '.join(known)})")
        if name == "p-true" and opinion.grader is not None:
            raise ValueError(f"{path}.grader: nothing is compared: leave it out")
        if name == "agreement" and (opinion.tier is None or opinion.grader is None):
            raise ValueError(f"{path}: say which `tier` helps, and which `grader` compares the answers")
        if name == "agreement" and opinion.tier in among:
            raise ValueError(f"{path}.tier: {opinion.tier!r} is in the cascade itself: a helper is another model")


def refuse_odd_skip(
    where: str, skip: SkipSettings | None, foresight: Foresight | None, models: Mapping[str, str]
) -> None:
    """Raise ValueError where prompts cannot be scored as they are to be; `models` are those of the tiers."""
    if skip is None or foresight is None:
        return
    name, known = skip.embeddings, ", ".join(models)
    if isinstance(foresight, PromptGain):
        if name is not None:
            raise ValueError(f"{where}.embeddings: the artefact scores the prompts' words: leave it out")
    elif name is None:
        raise ValueError(f"{where}: the artefact scores embeddings: say which tier embeds, as `embeddings` ({known})")
    elif name not in models:
        raise ValueError(f"{where}.embeddings: there is no tier {name!r} (tiers: {known})")
    elif models[name] != foresight.model:
        raise ValueError(
            f"{where}.embeddings: the artefact was made with {foresight.model}, tier {name!r} is {models[name]}: tune"
            " again, or set that back"
        )


def prints_of(
    opinions: Mapping[AskingName, OpinionSettings], drafter: str, models: Mapping[str, str]
) -> Mapping[str, OpinionPrint]:
    """Who answers which question, by the models' names, as artefacts know them."""
    return {
        name: OpinionPrint(model=models[opinion.tier or drafter], grader=opinion.grader)
        for name, opinion in opinions.items()
    }
