"""What is kept of requests: decisions, audits and feedback, and to whom they are given. Knows neither files nor SQL.

Times are Unix seconds, costs are in the currency of the prices, and what is not known is None.
"""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

from server.store.drawing import unguessable

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,160}")

Label = Literal["right", "wrong"]


def new_id() -> str:
    """32 hexadecimal digits that nobody else has; later ones sort after earlier ones, by the millisecond."""
    return f"{time.time_ns() // 1_000_000:012x}{unguessable()}"


@dataclass(frozen=True, slots=True)
class Step:
    """One tier's part in a request: its draft's score and confidence where it was scored, and why it was kept or not;
    the tokens and cost of its calls; the seconds spent waiting for it, and for its first piece; at how many tokens
    its stream opened, if it did. `opinions` are what models said of its draft, of each choice, by the question's name;
    `verdict` is how likely the final tier found it, in [0, 1], that the draft is right."""

    tier: str
    reason: str | None = None
    score: float | None = None
    confidence: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost: float = 0.0
    waited_s: float = 0.0
    first_piece_s: float | None = None
    opened_at: int | None = None
    opinions: tuple[Mapping[str, float], ...] = ()
    verdict: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A draft's tokens as the score saw them: the first log-probabilities (nats) of `tokens` in all, and the tokens'
    texts where texts are kept."""

    tier: str
    tokens: int
    logprobs: tuple[float | None, ...]
    texts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """What was asked and said; only where the operator keeps texts. `request` is the request as the tiers got it,
    `drafts` has each drafter's by its tier."""

    request: Mapping[str, JsonValue] | None
    answer: str | None
    drafts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one request, and why. `id` is ours alone; clients know `response_id`, of the body, and
    `request_id`, of the header.

    `tiers` are those of the cascade, in order, `steps` those that were asked; `tier` answered, or was being asked when
    the request ended with another `status` than 200. `task` is the kind of request that was named, `cluster` the one
    whose own fit judged it, None for the fit of all requests. `propensity` is the probability with which this request
    was to be audited, `artefact` the fingerprint of what judged it. `verdict` is the last one that was asked for, `key`
    the public id of the caller's key, None where there are no keys.
    """

    id: str
    request_id: str
    response_id: str
    time: float
    endpoint: str
    cascade: str
    mode: str
    tiers: tuple[str, ...]
    tier: str
    escalated: bool
    reason: str
    status: int
    streamed: bool
    steps: tuple[Step, ...]
    cost: float
    cost_final_alone: float
    cost_final_alone_estimated: bool
    seconds: float
    waited_s: float
    first_byte_s: float | None = None
    confidence: float | None = None
    confidence_of: str | None = None
    score: float | None = None
    threshold: float | None = None
    failure: str | None = None
    task: str | None = None
    cluster: str | None = None
    propensity: float | None = None
    artefact: str | None = None
    verdict: float | None = None
    key: str | None = None
    evidence: tuple[Evidence, ...] = ()
    texts: Texts | None = None


def is_id(given: str) -> bool:
    """Whether a decision could be known by this."""
    return GIVEN_ID.fullmatch(given) is not None


def ids_of(decision: Decision) -> tuple[str, str, str]:
    """All that a request is known by."""
    return decision.id, decision.request_id, decision.response_id


@dataclass(frozen=True, slots=True)
class Audit:
    """The final tier's answer to a request whose draft was accepted, compared with it. `decision` is the Decision's id.

    `loss`: whether the draft was a loss by `grader`; None where that cannot tell. `propensity`: the probability, in
    (0, 1], with which the request was drawn; `exposure`: its own and those of this gateway's requests since its audit
    before, of the same cluster, added up; how much is `unseen`, and the highest `threshold` among them, as in
    router.audits.Span. `artefact`: the fingerprint of what accepted it, `cluster`: whose fit in that judged it (None:
    the global one). Tokens are those of the draft and of the final tier's answer; with none of that, the audit failed.
    """

    id: str
    decision: str
    time: float
    cascade: str
    drafter: str
    final: str
    propensity: float
    loss: bool | None
    grader: str
    confidence: float | None
    cost: float
    artefact: str | None = None
    draft_tokens: int | None = None
    final_tokens: int | None = None
    exposure: float | None = None
    unseen: float | None = None
    threshold: float | None = None
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody thinks of an answer: `about` is the id that they gave, `score` is in [0, 1], and `correction` what
    should have been said."""

    id: str
    about: str
    time: float
    score: float | None = None
    label: Label | None = None
    correction: str | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that was no completion (embeddings and the like) and went to a `tier` as it came, under the name that
    was `asked` for: what it took of that. No text of it is kept, ever. `key` as in Decision."""

    id: str
    request_id: str
    time: float
    endpoint: str
    asked: str
    tier: str
    status: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    key: str | None = None


Record = Decision | Audit | Feedback | Passed


@dataclass(frozen=True, slots=True)
class Placed:
    """An audit and its place in the store's one order of them; places only grow."""

    place: int
    audit: Audit


class StoreDown(Exception):
    """The database cannot be read or written to now."""


class Ledger(Protocol):
    """Who keeps records."""

    def keep(self, record: Record) -> bool:
        """Write a record to the journal: it is in the store soon, once, also if this process is killed. False where it
        cannot be kept, which is counted and logged; raises nothing."""
        ...

    async def audits_since(self, cascade: str, after: int, *, formerly: Collection[str] = ()) -> Sequence[Placed]:
        """A cascade's audits behind this place (0: from the first), by its name and by those that it had before, in
        the one order that all gateways of a store see: none appears later before one that was given out. A thousand at
        most: ask again behind the last. Raises StoreDown."""
        ...

    async def former_names(self, artefact: str, known: Collection[str]) -> Collection[str]:
        """By which names, none of them of the `known`, cascades have kept audits of this artefact (its fingerprint):
        one that is judged by it was called so before. Raises StoreDown."""
        ...
