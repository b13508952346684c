"""The recorded outcomes as populations to certify on: a confidence for each question, and whether its draft is
regretted.

The filters have a confidence of their own. Elsewhere it is the helper's agreement, or logistic regression for "not
regretted" on a few plain features, or on hashed words of the question, fitted on a third of the file, which is then no
part of the population.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from router.lab.certifying import regrets
from router.lab.outcomes import Recorded, read_outcomes

FITTED_ON = 1 / 3
WORDS = re.compile(r"\w+")
NUMBERS = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
DONE = re.compile(r"####|answer is")
DOUBTS = re.compile(r"\b(?:however|but|cannot|unclear|assum\w+|approximately|closest|none)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Population:
    """Questions to draw from: float[n] in [0, 1], the confidence by `score`; bool[n], what is regretted if accepted."""

    name: str
    score: str
    confidence: np.ndarray
    regret: np.ndarray


def populations(folder: Path, seed: int) -> Iterator[Population]:
    """All of them, from the folder of the recorded outcomes."""
    yield from filters(read(folder, "filters-llama31-8b-70b"))
    for name, same in (("gsm8k-llama31-8b-70b", same_number), ("mmlu-pro-llama31-8b-70b", same_text)):
        questions = read(folder, name)
        agrees = np.array([same(*(one.outputs[tier].answer for tier in ("small", "helper"))) for one in questions])
        yield Population(name, "helper's agreement", agrees.astype(float), regret_of(questions))
        features = np.column_stack([agrees, text_features(questions)])
        yield Population(name, "fitted: agreement and text", *held_out(features, plain(), questions, seed))
    questions = read(folder, "gsm8k-mixtral-gpt4")
    features = text_features(questions)
    yield Population("gsm8k-mixtral-gpt4", "fitted: text", *held_out(features, plain(), questions, seed))
    questions = read(folder, "mmlu-mixtral-gpt4")
    features = np.array([one.prompt for one in questions])
    yield Population("mmlu-mixtral-gpt4", "before generation: words", *held_out(features, wordy(), questions, seed))


def read(folder: Path, name: str) -> list[Recorded]:
    """A file's questions."""
    return list(read_outcomes(folder / f"{name}.jsonl.gz"))


def filters(questions: Sequence[Recorded]) -> Iterator[Population]:
    """One for each corpus; the confidence is the small model's own, that of what it answered."""
    for task in sorted({one.task for one in questions}):
        those = [one for one in questions if one.task == task]
        confidence = np.array([one.outputs["small"].confidence for one in those])
        yield Population(f"{task.removeprefix('filter/')} filter", "own confidence", confidence, regret_of(those))


def held_out(features: np.ndarray, scorer, questions: Sequence[Recorded], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The confidence and the regret of those that the scorer was not fitted on."""
    order = np.random.default_rng(seed).permutation(len(questions))
    seen, unseen = np.split(order, [round(FITTED_ON * len(questions))])
    regret = regret_of(questions)
    scorer.fit(features[seen], ~regret[seen])
    return scorer.predict_proba(features[unseen])[:, 1], regret[unseen]


def plain():
    """For a few columns of numbers."""
    return make_pipeline(StandardScaler(), LogisticRegression())


def wordy():
    """For texts: hashed words and pairs of them."""
    words = HashingVectorizer(ngram_range=(1, 2), n_features=2**18, alternate_sign=False)
    return make_pipeline(words, LogisticRegression(solver="liblinear"))


def same_number(said: object, helper: object) -> bool:
    """Whether the last numbers in both answers are one."""
    numbers = [NUMBERS.findall(one.replace(",", "")) if isinstance(one, str) else [] for one in (said, helper)]
    return all(numbers) and float(numbers[0][-1]) == float(numbers[1][-1])


def same_text(said: object, helper: object) -> bool:
    """Whether both answers are there, and one."""
    return said is not None and said == helper


def regret_of(questions: Sequence[Recorded]) -> np.ndarray:
    """Whether each draft, accepted, is regretted."""
    return regrets(*([bool(one.outputs[tier].correct) for one in questions] for tier in ("small", "large")))


def text_features(questions: Sequence[Recorded]) -> np.ndarray:
    """float[n, 9], of the question and the small model's answer."""
    return np.array([features_of(one.prompt or "", one.outputs["small"].text or "") for one in questions])


def features_of(question: str, answer: str) -> tuple[float, ...]:
    """Lengths, numbers, repetition, doubt, and whether the answer comes to an end."""
    asked, said = WORDS.findall(question), WORDS.findall(answer)
    return (
        np.log1p(len(asked)),
        np.log1p(len(said)),
        len(NUMBERS.findall(question)),
        np.log1p(len(NUMBERS.findall(answer))),
        len(set(said)) / (len(said) + 1),
        len(set(asked) & set(said)) / (len(set(said)) + 1),
        np.log1p(len(DOUBTS.findall(answer))),
        bool(DONE.search(answer)),
        len(set(NUMBERS.findall(question)) - set(NUMBERS.findall(answer))),
    )
