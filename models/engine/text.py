"""Tokens to text as they come: whole characters only, and nothing that a stop string may cut."""

from collections.abc import Callable, Sequence
from typing import Final

_BROKEN: Final = "\ufffd"
_CONTEXT_TOKENS: Final = 6
# A character has at most four bytes; a longer run of broken ones is the model's own.
_PATIENCE_TOKENS: Final = 8


class Detokenizer:
    """Decodes a short window only, so that long answers stay cheap.

    The prompt's last tokens open the window: they decide about a leading space, and whether the
    answer starts inside a character.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt: Sequence[int]) -> None:
        self._decode = decode
        self._window = list(prompt[-_CONTEXT_TOKENS:])
        self._settled = len(self._window)
        self._shown = len(decode(self._window).rstrip(_BROKEN))

    def add(self, token_id: int) -> str:
        """The text that this token completes."""
        self._window.append(token_id)
        text = self._decode(self._window)
        patient = len(self._window) - self._settled < _PATIENCE_TOKENS
        whole = text.rstrip(_BROKEN) if patient else text
        fresh = whole[self._shown :]
        if whole == text:
            self._settle()
        else:
            self._shown += len(fresh)
        return fresh

    def _settle(self) -> None:
        del self._window[: self._settled]
        self._settled = len(self._window)
        self._shown = len(self._decode(self._window))


class StopStrings:
    """Cuts text at the first stop string; holds back what may still become one."""

    def __init__(self, strings: Sequence[str], *, shown: bool) -> None:
        self._strings = strings
        self._shown = shown
        self._held = ""
        self.found: str | None = None

    def add(self, text: str) -> str:
        """The text that no stop string can touch any more."""
        if not self._strings:
            return text
        self._held += text
        hits = [(at, stop) for stop in self._strings if (at := self._held.find(stop)) >= 0]
        if hits:
            at, self.found = min(hits)
            end = at + len(self.found) if self._shown else at
            released, self._held = self._held[:end], ""
            return released
        return self._release(len(self._held) - self._undecided())

    def rest(self) -> str:
        """What was held back when the answer ended for another reason."""
        return self._release(len(self._held))

    def _release(self, length: int) -> str:
        released, self._held = self._held[:length], self._held[length:]
        return released

    def _undecided(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = min(len(self._held), max(map(len, self._strings)) - 1)
        for length in range(longest, 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._strings):
                return length
        return 0
