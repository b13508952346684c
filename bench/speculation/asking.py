"""Asking a server for greedy answers, one at a time, and reading what they took: steps, tokens, seconds."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

from servers import Server

CONCURRENCY = 8
COUNTERS = {
    "steps": "vllm:iteration_tokens_total_count",
    "proposed": "vllm:spec_decode_num_draft_tokens_total",
    "accepted": "vllm:spec_decode_num_accepted_tokens_total",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Token ids with their log-probabilities where they were asked for, and the seconds that it took."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What a server counts: its steps (one forward pass each), and the draft tokens proposed and accepted."""

    steps: int
    proposed: int
    accepted: int

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(Counts)))


async def read_counts(server: Server) -> Counts:
    """Its counters since its start."""
    return Counts(**{field: await server.counter(name) for field, name in COUNTERS.items()})


def question(prompt: str, *, max_tokens: int) -> dict[str, object]:
    """A chat request for token ids."""
    return {
        "model": "model", "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens,
        "return_token_ids": True,
    }  # fmt: skip


def handing(draft: Sequence[int]) -> dict[str, object]:
    """What hands a draft over."""
    return {"vllm_xargs": {"draft_token_ids": list(draft)}}


async def ask(server: Server, prompt: str, *, max_tokens: int, **options: object) -> Answer:
    """One greedy answer."""
    begun_s = time.perf_counter()
    said = await server.post(
        "/v1/chat/completions", {**question(prompt, max_tokens=max_tokens), "temperature": 0, **options}
    )
    (choice,) = said["choices"]
    logprobs = choice["logprobs"]["content"] if choice["logprobs"] else []
    seconds = time.perf_counter() - begun_s
    return Answer(tuple(choice["token_ids"]), tuple(token["logprob"] for token in logprobs), seconds)


async def ask_all(server: Server, prompts: Sequence[str], *, max_tokens: int) -> list[Answer]:
    """All of them, a few at a time, with log-probabilities; the seconds mean nothing then."""
    free = asyncio.Semaphore(CONCURRENCY)

    async def one(prompt: str) -> Answer:
        async with free:
            return await ask(server, prompt, max_tokens=max_tokens, logprobs=True)

    return list(await asyncio.gather(*(one(prompt) for prompt in prompts)))


async def ask_in_turn(
    servers: Sequence[Server], prompts: Sequence[str], drafts: Sequence[Sequence[int]], *, max_tokens: int
) -> dict[str, list[Answer]]:
    """Each prompt to each server by itself, in rotated order, so that a busy machine slows them all alike.

    The server named `handover` is given the drafts.
    """
    answers: dict[str, list[Answer]] = {server.name: [] for server in servers}
    for turn, (prompt, draft) in enumerate(zip(prompts, drafts, strict=True)):
        for place in range(len(servers)):
            server = servers[(turn + place) % len(servers)]
            handed = handing(draft) if server.name == "handover" else {}
            answers[server.name].append(await ask(server, prompt, max_tokens=max_tokens, **handed))
    return answers
