"""The recorded sets of the benchmark of routing, as columns."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from router.lab.agreement import agree
from router.lab.folds import held_out
from router.lab.measures import Bools, Floats, Indices, Outcomes
from router.lab.outcomes import Output, Recorded, read_outcomes
from router.lab.skip_fitting import gains_of
from router.lab.word_rows import rows_of
from router.text_features import text_features

GSM8K = "gsm8k-llama31-8b-70b"
MMLU_PRO = "mmlu-pro-llama31-8b-70b"
MMLU = "mmlu-mixtral-gpt4"
BILLIONS = {"small": 8.0, "large": 70.0, "helper": 3.8}  # Llama 3.1 8B and 70B, Phi-3.5-mini
NEAREST = 200


@dataclass(frozen=True)
class Questions:
    """One set, in its order; a cost is parameters times characters of the answer, in the final tier's mean."""

    recorded: Sequence[Recorded]
    outcomes: Outcomes

    @cached_property
    def prompts(self) -> list[str]:
        """As the models saw them."""
        return [one.prompt or "" for one in self.recorded]

    @cached_property
    def tasks(self) -> list[str]:
        """What kind of question each is: the part after the set's name."""
        return [(one.task or "").rpartition("/")[2] for one in self.recorded]

    @cached_property
    def agreement(self) -> Floats:
        """1 where the helper gives the drafter's answer."""
        return np.array([float(agree(small.answer, helper.answer)) for small, helper in self.with_helper])

    @cached_property
    def same_text(self) -> Floats:
        """1 where it gives it letter by letter."""
        return np.array(
            [float(small.answer == helper.answer and small.answer is not None) for small, helper in self.with_helper]
        )

    @property
    def with_helper(self) -> list[tuple[Output, Output]]:
        """What drafter and helper said."""
        return [(one.outputs["small"], one.outputs["helper"]) for one in self.recorded]

    @cached_property
    def signals(self) -> list[Mapping[str, float]]:
        """Text features of each draft, and the agreement."""
        return [
            {**text_of(one), "agreement": float(agrees)}
            for one, agrees in zip(self.recorded, self.agreement, strict=True)
        ]

    @property
    def unseen(self) -> Bools:
        """The half of the questions that was not looked at when the text features were chosen."""
        return np.array([zlib.crc32(one.id.encode()) % 2 == 1 for one in self.recorded])


def text_of(one: Recorded) -> Mapping[str, float]:
    """The text features of the draft."""
    draft = one.outputs["small"]
    answer = None if draft.answer is None else str(draft.answer)
    return text_features(draft.text or "", prompt=one.prompt or "", answer=answer)


def questions_of(folder: Path, name: str) -> Questions:
    """A set's questions."""
    recorded = list(read_outcomes(folder / f"{name}.jsonl.gz"))
    right = {tier: np.array([bool(one.outputs[tier].correct) for one in recorded]) for tier in ("small", "large")}
    final_cost = cost_of(recorded, "large")
    draft_cost = cost_of(recorded, "small")
    if all("helper" in one.outputs for one in recorded):
        draft_cost = draft_cost + cost_of(recorded, "helper")
    scale = final_cost.mean()
    return Questions(recorded, Outcomes(right["small"], right["large"], draft_cost / scale, final_cost / scale))


def cost_of(recorded: Sequence[Recorded], tier: str) -> Floats:
    """Parameters times characters; of an answer whose text the set does not have, as many as one character."""
    return np.array([BILLIONS[tier] * len(one.outputs[tier].text or " ") for one in recorded])


def neighbours(questions: Questions, fold: Indices) -> Floats:
    """The confidence before generation by the mean gain of the nearest prompts of the other folds, for comparison:
    words and pairs of words, cosine."""
    rows = rows_of(questions.prompts, 2**18)
    gains = gains_of(questions.outcomes.draft_right, questions.outcomes.final_right)
    confidence = np.empty(len(gains))
    for held in held_out(fold):
        places, others = np.flatnonzero(held), gains[~held]
        for part in np.array_split(places, 8):
            likeness = (rows[part] @ rows[~held].T).toarray()
            nearest = np.argpartition(-likeness, NEAREST, axis=1)[:, :NEAREST]
            weights = np.take_along_axis(likeness, nearest, axis=1) + 1e-9
            confidence[part] = (1 - (weights * others[nearest]).sum(axis=1) / weights.sum(axis=1)) / 2
    return confidence
