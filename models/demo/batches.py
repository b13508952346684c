"""Conversations from the curriculum as padded batches of token ids, in an order that a seed fixes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.demo.curriculum import questions
from models.demo.question import Question, Split
from models.demo.tokenizer import ASSISTANT, END, PAD, SYSTEM, USER

POOL = 8192
IGNORED = -100
SYSTEM_PROMPTS = ("You are a helpful assistant.", "Answer the question.", "Be brief and exact.")

Encoded = list[tuple[list[int], list[int]]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids (rows, length) and the next-token labels (rows, length), `IGNORED` outside the answers."""

    ids: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stream of batches stands: the next batch of a pool."""

    pool: int = 0
    batch: int = 0


def conversations(drawn: Iterator[Question], random: Random) -> Iterator[list[tuple[str, str]]]:
    """(text, answer) pairs: four in five of one turn, else two or three; one in six opens with a system message."""
    for first in drawn:
        extra = random.randint(1, 2) if random.random() < 0.2 else 0
        turns = [first, *islice(drawn, extra)]
        pairs = [(f"{USER}{turn.prompt}{END}{ASSISTANT}", f"{turn.answer}{END}") for turn in turns]
        if random.random() < 1 / 6:
            text, answer = pairs[0]
            pairs[0] = (f"{SYSTEM}{random.choice(SYSTEM_PROMPTS)}{END}{text}", answer)
        yield pairs


def encode(tokenizer: PreTrainedTokenizerFast, talks: list[list[tuple[str, str]]]) -> list[tuple[list[int], list[int]]]:
    """(ids, labels) of each conversation; a label is the id that follows where that id is part of an answer."""
    pieces = [piece for talk in talks for pair in talk for piece in pair]
    tokens = iter(tokenizer(pieces, add_special_tokens=False)["input_ids"])
    encoded = []
    for talk in talks:
        ids: list[int] = []
        wanted: list[int] = []
        for _ in talk:
            text, answer = next(tokens), next(tokens)
            ids += text + answer
            wanted += [IGNORED] * len(text) + answer
        encoded.append((ids, [*wanted[1:], IGNORED]))
    return encoded


def padded(rows: Encoded, pad: int) -> Batch:
    """Right-padded, so that a causal model needs no mask."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [pad] * (length - len(row)) for row, _ in rows])
    labels = torch.tensor([row + [IGNORED] * (length - len(row)) for _, row in rows])
    return Batch(ids, labels)


def grouped(rows: Encoded, budget: int) -> list[Encoded]:
    """Rows of like length together, at most `budget` padded tokens a group."""
    groups: list[Encoded] = []
    for row in sorted(rows, key=lambda row: len(row[0])):
        if not groups or len(row[0]) * (len(groups[-1]) + 1) > budget:
            groups.append([])
        groups[-1].append(row)
    return groups


def batches(
    tokenizer: PreTrainedTokenizerFast, *, seed: int, budget: int, start: Place
) -> Iterator[tuple[Batch, Place]]:
    """Endless training batches from `start` on, each with the place of the one after it."""
    pad = tokenizer.convert_tokens_to_ids(PAD)
    place = start
    while True:
        name = f"training {seed} pool {place.pool}"
        random = Random(name)
        drawn = questions(Split.TRAIN, seed=name)
        groups = grouped(encode(tokenizer, list(islice(conversations(drawn, random), POOL))), budget)
        random.shuffle(groups)
        for index in range(place.batch, len(groups)):
            yield padded(groups[index], pad), Place(place.pool, index + 1)
        place = Place(place.pool + 1, 0)
