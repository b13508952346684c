"""Following a finished draft while another model writes: which tokens to propose next. Knows no engine."""

from bisect import bisect_left
from collections.abc import Sequence

PAIR = 2
CLOSE = 4
NEAREST = 8
LOOK_BACK = 8
FADING = 0.7
FAR = 0.5
PATIENCE = 8


class Following:
    """Where one answer is in its draft.

    While the answer repeats the draft, the draft's next tokens are proposed. Where it deviates, each place in question
    is weighed by how many of the answer's last tokens lead up to it, the latest most: the next place, as if one token
    had been replaced; close places after the answer's last token; any place after its last two. After eight tokens
    that the draft did not foresee, nothing is proposed until it has the answer's last two somewhere.
    """

    def __init__(self, draft: Sequence[int]) -> None:
        self._draft = tuple(draft)
        self._after: dict[tuple[int, ...], list[int]] | None = None
        self._written: list[int] = []
        self._at = 0
        self._missed = 0

    @property
    def taken(self) -> int:
        """How many tokens of the answer have been taken in."""
        return len(self._written)

    def take(self, tokens: Sequence[int]) -> None:
        """The answer's next tokens, whoever proposed them."""
        for token in tokens:
            self._written.append(token)
            if self._at < len(self._draft) and self._draft[self._at] == token:
                self._at += 1
                self._missed = 0
            else:
                self._realign()

    def next(self, count: int) -> tuple[int, ...]:
        """At most `count` tokens to propose; none where the draft is at its end or was lost."""
        lost = self._missed >= PATIENCE
        return () if lost else self._draft[self._at : self._at + max(0, count)]

    def _realign(self) -> None:
        expected = min(self._at + 1, len(self._draft))
        places = [expected, *self._close(expected), *self._after_pair(expected)]
        self._at = max(places, key=lambda place: (self._evidence(place, expected), -abs(place - expected)))
        found = self._draft[max(0, self._at - PAIR) : self._at] == tuple(self._written[-PAIR:])
        self._missed = 0 if found else self._missed + 1

    def _close(self, expected: int) -> list[int]:
        """The close places after the answer's last token."""
        first, last = max(1, expected - CLOSE), min(len(self._draft), expected + CLOSE)
        return [place for place in range(first, last + 1) if self._draft[place - 1] == self._written[-1]]

    def _after_pair(self, expected: int) -> list[int]:
        """The places after the answer's last two tokens, the nearest ones on both sides."""
        if self._after is None:
            self._after = places_after_pairs(self._draft)
        places = self._after.get(tuple(self._written[-PAIR:]), [])
        nearest = bisect_left(places, expected)
        return places[max(0, nearest - NEAREST) : nearest + NEAREST]

    def _evidence(self, place: int, expected: int) -> float:
        """How well the answer's last tokens lead up to this place; to go far takes more."""
        weight, found = 1.0, -FAR if abs(place - expected) > CLOSE else 0.0
        for back in range(1, min(LOOK_BACK, place, len(self._written)) + 1):
            if self._written[-back] == self._draft[place - back]:
                found += weight
            weight *= FADING
        return found


def places_after_pairs(draft: tuple[int, ...]) -> dict[tuple[int, ...], list[int]]:
    """For every two tokens in a row the places after them, ascending."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place in range(PAIR, len(draft) + 1):
        places.setdefault(draft[place - PAIR : place], []).append(place)
    return places
