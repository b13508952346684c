"""What tells servers apart: how one goes on after a text. Pure, and no surer than it can be: where two tokens are about
equally likely, one server writes now this, now that, as the other requests in its batch have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from models.parsing import NOT_A_REPLY
from models.wire import WireChoice

TIE_NATS = 0.5  # logits of 16 bits are no finer than an eighth where they are above 16


@dataclass(frozen=True, slots=True)
class Look:
    """What a server said when it was asked what it is: its tokenizer's fingerprint, its own, the tokens of its short
    answer, and at each place the likeliest (log-probabilities in nats), where it told them."""

    fingerprint: str
    tokenizer: str | None = None
    tokens: tuple[str, ...] = ()
    likely: tuple[Mapping[str, float], ...] = ()

    def may_be(self, other: "Look") -> bool:
        """Whether the same server may have said both: where they part, both tokens were about equally likely."""
        if self.fingerprint == other.fingerprint:
            return True
        if self.tokenizer != other.tokenizer:
            return False
        for mine, others, likely in zip(self.tokens, other.tokens, self.likely, strict=False):
            if mine != others:
                return mine in likely and others in likely and abs(likely[mine] - likely[others]) <= TIE_NATS
        return False


def look_of(tokenizer: str | None, choice: WireChoice) -> Look | None:
    """What the short answer shows, beside the tokenizer; None where it shows nothing."""
    said = choice.get("token_ids") or choice.get("text")
    if not said:
        return None
    fingerprint = hashed((tokenizer, said))
    try:
        told = choice.get("logprobs") or {}
        likely = tuple({str(token): float(p) for token, p in (at or {}).items()} for at in told["top_logprobs"] or ())
        return Look(fingerprint, tokenizer, tuple(map(str, told["tokens"] or ())), likely)
    except NOT_A_REPLY:
        return Look(fingerprint, tokenizer)


def hashed(value: object) -> str:
    """A short fingerprint of a value's repr."""
    return sha256(repr(value).encode()).hexdigest()[:16]
