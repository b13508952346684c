"""What happened to a request, as it happened: metrics, logs, headers and costs all read these."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from models.answer import Piece, Speculation, Usage, WentOn
from models.errors import FailureReason

Mode = Literal["threshold", "certified", "exact"]
Lapse = Literal["alarmed", "expired", "stale", "unread"]
Fallback = Literal[Lapse, "uncertified", "unknown-task", "other-task"]
ThresholdBy = Literal["config", "request", "certificate", "budget", "load"]
CheckReason = Literal["empty", "looping", "refused", "cut", "malformed"]
EvidenceReason = Literal["no-evidence", "degenerate-evidence"]
EscalationReason = CheckReason | EvidenceReason | FailureReason | Literal["unsure", "verdict", "skipped"]
AcceptanceReason = Literal["sure", "opened", "verdict", "no-evidence", "degenerate-evidence"]
About = Literal["answer", "opinion", "verdict", "foresight"]


class Planned(Struct, frozen=True):
    """Which tiers may answer, in order, and how sure a drafter must be; in mode `exact` it never answers itself. Where
    mode `certified` was wanted and cannot be kept, that is the mode, and `fallback` says why."""

    cascade: str
    tiers: tuple[str, ...]
    mode: Mode
    threshold: float
    fallback: Fallback | None = None


class Foreseen(Struct, frozen=True):
    """How good this tier's draft will be, from the prompt alone: a confidence in [0, 1]."""

    tier: str
    confidence: float


class Asked(Struct, frozen=True):
    """A call to a tier begins, for an answer or for what it says of a draft; a `Called` ends it, in the same task."""

    tier: str
    about: About = "answer"


class Began(Struct, frozen=True):
    """The first piece of a tier's answer has come, after so many seconds of waiting for it."""

    tier: str
    waited_s: float


class Wrote(NamedTuple):
    """A piece of a draft has come, for each of its choices; whether anybody is ever shown it is another matter.
    For those who keep what was said, and how sure it was: there are many."""

    tier: str
    pieces: tuple[Piece, ...]


class Drafted(Struct, frozen=True):
    """A drafter is done, because its answer is whole or because it was stopped: its tokens over all choices, and how
    many of them are in the answer that the client gets."""

    tier: str
    tokens: int
    answered: int


class Opened(Struct, frozen=True):
    """A draft's beginning is shown before the whole of it could be judged. At so many answer tokens its gate opened,
    with this confidence in [0, 1] that the whole will be accepted; so many seconds were waited for what is shown."""

    tier: str
    tokens: int
    confidence: float
    waited_s: float


class Scored(Struct, frozen=True):
    """A draft's score (the scorer's own unit) and its confidence in [0, 1]."""

    tier: str
    score: float
    confidence: float


class Opined(Struct, frozen=True):
    """Models were asked about a tier's draft: what they said of each choice, by the question's name; nothing where one
    of them did not say. The draft waited so many seconds for it."""

    tier: str
    opinions: tuple[Mapping[str, float], ...]
    waited_s: float


class Verdict(Struct, frozen=True):
    """This tier, the final one, was asked whether a draft is right: its probability, in [0, 1], of the least likely
    choice."""

    tier: str
    probability: float


class Accepted(Struct, frozen=True):
    """The draft is the answer."""

    tier: str
    reason: AcceptanceReason


class Escalated(Struct, frozen=True):
    """The tier's draft, if it made one, is not the answer; `to` is asked next."""

    tier: str
    to: str
    reason: EscalationReason


class Continued(Struct, frozen=True):
    """The final tier goes on after so many tokens of the draft, which the client was shown."""

    tier: str
    tokens: int


class Capped(Struct, frozen=True):
    """The tier failed, and too many requests have gone up for that reason lately: this one does not."""

    tier: str


class Failed(Struct, frozen=True):
    """A tier gave no answer, or stopped in the middle of one; what it was asked about."""

    tier: str
    reason: FailureReason
    about: About = "answer"


class Called(Struct, frozen=True):
    """A call to a tier is over, however it ended: its tokens, the seconds spent waiting for it, what came of drafts
    that its engine verified, whether it was handed one, and how it went on after another tier's words, if it did; what
    it was asked for: an answer, what it says of a draft, or a prompt's embedding; and why it failed, if it did."""

    tier: str
    usage: Usage
    waited_s: float
    speculation: Speculation | None = None
    handed: bool = False
    went_on: WentOn | None = None
    about: About = "answer"
    failure: FailureReason | None = None


class Finished(Struct, frozen=True):
    """The answer is whole, and this tier's."""

    tier: str


Event = (
    Planned
    | Foreseen
    | Asked
    | Began
    | Wrote
    | Drafted
    | Opened
    | Scored
    | Opined
    | Verdict
    | Accepted
    | Escalated
    | Continued
    | Capped
    | Failed
    | Called
    | Finished
)
