"""Every running request's draft, and where its answer is in it. Knows no engine but by the shape of its requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from .contract import KEY, draft_of
from .following import Following


class Asked(Protocol):
    """What was asked for: `extra_args` are the request's `vllm_xargs`."""

    @property
    def extra_args(self) -> Mapping[str, object] | None: ...

    @property
    def min_tokens(self) -> int: ...

    @property
    def max_tokens(self) -> int | None: ...


class Request(Protocol):
    """A request that is being answered. `output_token_ids` are its answer so far, `num_tokens` count its prompt too."""

    @property
    def sampling_params(self) -> Asked | None: ...

    @property
    def output_token_ids(self) -> list[int]: ...

    @property
    def num_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Followed:
    """A draft being followed for what was asked: an id that is used again asks for something else."""

    asked: Asked
    following: Following

    def fits(self, request: Request) -> bool:
        """Whether this is the request's, and nothing that was taken in has been taken back."""
        return self.asked is request.sampling_params and self.following.taken <= len(request.output_token_ids)


class Drafts:
    """Proposes tokens for requests that brought a draft. Forgets a request when its engine does."""

    def __init__(self, *, vocabulary: int, tokens_a_step: int) -> None:
        self._vocabulary = vocabulary
        self._tokens_a_step = tokens_a_step
        self._followed: dict[str, Followed] = {}

    def __len__(self) -> int:
        """How many requests are remembered."""
        return len(self._followed)

    def keep(self, running: Mapping[str, object]) -> None:
        """Forget every request that is not running."""
        if not self._followed.keys() <= running.keys():
            self._followed = {name: one for name, one in self._followed.items() if name in running}

    def next(self, name: str, request: Request, *, context: int) -> list[int]:
        """The draft's tokens to verify next, no more than the answer or the context has room for."""
        asked = request.sampling_params
        raw = asked and asked.extra_args and asked.extra_args.get(KEY)
        if asked is None or not raw:
            return []
        followed = self._followed.get(name)
        if followed is None or not followed.fits(request):
            draft = draft_of(raw, vocabulary=self._vocabulary)
            followed = self._followed[name] = Followed(asked, Following(draft))
        followed.following.take(request.output_token_ids[followed.following.taken :])
        return list(followed.following.next(min(self._tokens_a_step, room(request, asked, context))))


def room(request: Request, asked: Asked, context: int) -> int:
    """How many tokens a step may verify. It writes one more itself, for which the answer must have room too.

    vLLM forbids that last one to end the answer wherever the step began below `min_tokens`, so no step goes across.
    """
    written = len(request.output_token_ids)
    ends = [context - request.num_tokens]
    if asked.max_tokens is not None:
        ends.append(asked.max_tokens - written)
    if written < asked.min_tokens:
        ends.append(asked.min_tokens - written)
    return min(ends) - 1
