"""Recorded questions whose drafts are righter the surer they are, without any model."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from router.lab.outcomes import Recorded

TOKENS = 12


def recordings(
    count: int, *, seed: int = 1, tasks: Sequence[str] = ("sums",), hard: float = 0.4
) -> Iterator[dict[str, Any]]:
    """Of the drafts a share of `hard` has one doubtful token and is mostly wrong, the others are mostly right; the
    large model nearly always is."""
    random = Random(seed)
    for place in range(count):
        is_hard = random.random() < hard
        weakest = random.uniform(0.2, 0.8) if is_hard else random.uniform(0.7, 1.0)
        right = random.random() < (0.25 if is_hard else 0.99)
        ps = [random.uniform(0.95, 1.0) for _ in range(TOKENS)]
        ps[random.randrange(TOKENS)] = weakest
        yield {
            "id": f"{seed}-{place}",
            "task": tasks[place % len(tasks)],
            "request": {"messages": [{"role": "user", "content": f"question {place}"}]},
            "gold": "yes",
            "outputs": {
                "small": {"model": "scripted", "text": "x", "correct": right, "reply": reply(ps), "cost": 1.0},
                "large": {"model": "scripted", "text": "x", "correct": random.random() < 0.99, "cost": 10.0},
            },
        }


def reply(ps: Sequence[float]) -> dict[str, Any]:
    """A chat completion of tokens with these probabilities."""
    content = [{"token": "ab ", "logprob": math.log(p), "top_logprobs": [{"token": "ab ", "logprob": math.log(p)},
                {"token": "c ", "logprob": math.log(max(1e-6, 1 - p))}]} for p in ps]  # fmt: skip
    message = {"role": "assistant", "content": "ab " * len(ps)}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": content}}]}


def recorded(count: int, **how: Any) -> list[Recorded]:
    """The same, as they are read."""
    return [Recorded.model_validate(one) for one in recordings(count, **how)]


def recorded_file(file: Path, count: int, **how: Any) -> Path:
    """The same, in a file."""
    file.write_text("".join(json.dumps(one) + "\n" for one in recordings(count, **how)))
    return file
