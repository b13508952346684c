"""The score before generation that the questions allow: of the prompts' words, or of what a tier makes of these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from router.lab.examples import Example
from router.lab.fitting import CannotFit
from router.lab.foresight_fitting import Worth, fit_embedding_gain, worth_of_embeddings, worth_of_words
from router.lab.measures import Floats
from router.lab.skip_fitting import fit_gain, gains_of
from router.skipping import Foresight

Vectors = Sequence[tuple[float, ...] | None]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Who embeds texts, by the model's name and its servers' fingerprint where it is known: `of` n texts n vectors of
    length 1, None for a text that they do not take."""

    model: str
    fingerprint: str | None
    of: Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Foresighted:
    """A score of prompts, and what it is worth on `questions`; beside it what one of their words is worth, where it is
    one of embeddings."""

    made: Foresight
    worth: Worth
    of_words: Worth | None
    questions: int


def foresight_of(fitting: Sequence[Example], embedding: Embedding | None, *, seed: int) -> Foresighted:
    """Fitted to what escalating gained. Raises CannotFit."""
    asked = [example for example in fitting if example.asked]
    if not asked:
        raise CannotFit("the questions have no requests whose words could be read")
    if embedding is None:
        prompts, gains = prompts_of(asked), gained(asked)
        return Foresighted(fit_gain(prompts, gains), worth_of_words(prompts, gains, seed=seed), None, len(gains))
    return embedded(asked, embedding, seed)


def embedded(asked: Sequence[Example], embedding: Embedding, seed: int) -> Foresighted:
    """Of embeddings; a question that the servers do not take is left out."""
    found = embedding.of(prompts_of(asked))
    taken = [(example, vector) for example, vector in zip(asked, found, strict=True) if vector is not None]
    if len({len(vector) for _, vector in taken}) != 1:
        raise CannotFit(f"{embedding.model} took {len(taken)} of the questions, and its embeddings have to be alike")
    examples, vectors = [example for example, _ in taken], np.array([vector for _, vector in taken])
    prompts, gains = prompts_of(examples), gained(examples)
    made = fit_embedding_gain(vectors, gains, model=embedding.model, fingerprint=embedding.fingerprint, seed=seed)
    worth = worth_of_embeddings(prompts, vectors, gains, seed=seed)
    return Foresighted(made, worth, worth_of_words(prompts, gains, seed=seed), len(gains))


def prompts_of(examples: Sequence[Example]) -> list[str]:
    """What was asked."""
    return [example.asked for example in examples]


def gained(examples: Sequence[Example]) -> Floats:
    """(n,): what escalating gained."""
    draft_right = np.array([example.draft_right for example in examples])
    return gains_of(draft_right, np.array([example.final_right for example in examples]))
