"""A question of the demo curriculum, and the split it belongs to."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Split(StrEnum):
    """Who may see a question: the trainer, the choice of a threshold, or only the final grading."""

    TRAIN = "train"
    THRESHOLD = "threshold"
    HELD_OUT = "held-out"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the one text that counts as right."""

    task: str
    prompt: str
    answer: str

    @property
    def split(self) -> Split:
        """By the prompt's CRC-32, so that no two splits can share a prompt: 14/16, 1/16, 1/16."""
        match zlib.crc32(self.prompt.encode()) % 16:
            case 0:
                return Split.HELD_OUT
            case 1:
                return Split.THRESHOLD
            case _:
                return Split.TRAIN


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of question at one or more levels of difficulty.

    `ask(random, level)` draws a (prompt, answer); `weights` gives each level's share of the curriculum.
    """

    name: str
    weights: Mapping[int, float]
    ask: Callable[[Random, int], tuple[str, str]]


def phrased(random: Random, prompt: str, value: object, sentence: str) -> tuple[str, str]:
    """The question as it is, to be answered in a sentence, or with a request for the bare value."""
    if random.random() < 0.6:
        return prompt, sentence
    return f"{prompt} Answer only.", str(value)
