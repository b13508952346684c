"""Ways to follow a draft, and how many steps each would take: what an engine accepts can be counted without it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from models.handover.following import Following

RUNS = (4, 3, 2)


class Follows(Protocol):
    """Takes what was written, proposes what comes next."""

    def take(self, tokens: Sequence[int]) -> None: ...

    def next(self, count: int) -> Sequence[int]: ...


class Prefix:
    """Follows until the first deviation."""

    def __init__(self, draft: Sequence[int]) -> None:
        self.draft, self.written = tuple(draft), ()

    def take(self, tokens: Sequence[int]) -> None:
        self.written += tuple(tokens)

    def next(self, count: int) -> Sequence[int]:
        at = len(self.written)
        return self.draft[at : at + count] if self.draft[:at] == self.written else ()


class Place(Prefix):
    """Takes every deviation for a replaced token: goes on at the same place."""

    def next(self, count: int) -> Sequence[int]:
        return self.draft[len(self.written) :][:count]


class Run(Prefix):
    """Goes on after the longest run of 2 to 4 tokens that the answer ended with, the next one in the draft."""

    at: int | None = 0

    def take(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self.written += (token,)
            follows = self.at is not None and self.at < len(self.draft) and self.draft[self.at] == token
            self.at = self.at + 1 if follows else self._found(self.at or 0)

    def _found(self, last: int) -> int | None:
        for length in RUNS:
            run = self.written[-length:]
            ends = [end for end in range(length, len(self.draft) + 1) if self.draft[end - length : end] == run]
            if ends and len(run) == length:
                return next((end for end in ends if end >= last), ends[-1])
        return None

    def next(self, count: int) -> Sequence[int]:
        return () if self.at is None else self.draft[self.at : self.at + count]


ALIGNMENTS: dict[str, Callable[[Sequence[int]], Follows]] = {
    "until the first deviation": Prefix,
    "at the same place": Place,
    "after the longest run of 2 to 4 tokens": Run,
    "as shipped": Following,
}


def simulated_steps(follows: Follows, answer: Sequence[int], *, tokens: int, max_tokens: int) -> int:
    """Steps until the answer stands: the first reads the prompt and writes one token, each other verifies at most
    `tokens` and writes one more."""
    written, steps = 1, 1
    follows.take(answer[:1])
    while written < len(answer):
        proposed = follows.next(max(0, min(tokens, max_tokens - written - 1)))
        kept = 0
        while kept < len(proposed) and written + kept < len(answer) and proposed[kept] == answer[written + kept]:
            kept += 1
        follows.take(answer[written : written + kept + 1])
        written, steps = written + kept + 1, steps + 1
    return steps
