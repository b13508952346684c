"""One request's decision, put together from its events while they happen. Knows neither files nor SQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from msgspec import Struct

from models.answer import Choice, Piece, Usage, choice_of
from models.gathering import Gathered
from models.prompt import Prompt
from models.tokens import NO_TOKENS, Tokens
from models.wire import JsonObject, WireMessage
from router.events import (
    Accepted,
    Asked,
    Began,
    Called,
    Escalated,
    Event,
    Failed,
    Finished,
    Opened,
    Opined,
    Planned,
    Scored,
    Verdict,
    Wrote,
)
from router.evidence import evidence_of
from router.outcome import Outcome, Spent
from server.store.records import Decision, Evidence, Step, Texts, new_id
from server.store.redacting import NOTHING, Redaction

STEPS = 1e4  # of a log-probability in a nat: finer ones say nothing
WHOLE = 1.5 * 2**52  # of doubles of this size there are whole ones alone: a sum with it is rounded
SECONDS_DIGITS = 6
MOST_CHARACTERS = 2**16  # of an answer or a draft
MOST_REQUEST_BYTES = 2**18
BEYOND_TOKENS, BEYOND_CHARACTERS = 64, 512  # are looked at behind what is kept, for what an end would cut


@dataclass(frozen=True, slots=True)
class Rules:
    """How much is kept of a request: the first so many tokens of each draft as numbers, and texts or none, without what
    the redaction takes out."""

    evidence_tokens: int = 256
    texts: bool = False
    redaction: Redaction = NOTHING


class Ending(Struct, frozen=True):
    """How a request ended: by which ids clients know it, at which endpoint it came and when (Unix seconds), the HTTP
    status, the seconds until its last byte, and until its first one if there was any. The rest as in Decision."""

    request_id: str
    response_id: str
    endpoint: str
    time: float
    status: int
    seconds: float
    first_byte_s: float | None
    task: str | None = None
    propensity: float | None = None
    artefact: str | None = None
    key: str | None = None


class Said:
    """The first characters of an answer's first choice."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._texts: list[str] = []
        self._characters = 0

    def add(self, pieces: Iterable[Piece]) -> None:
        """What these say comes after what was said."""
        for piece in pieces:
            if piece.index == 0 and self._characters < MOST_CHARACTERS + BEYOND_CHARACTERS:
                text = words_of(piece.message)
                self._texts.append(text)
                self._characters += len(text)

    @property
    def text(self) -> str | None:
        """Their text; None where nothing was said."""
        return self._redaction.of_text("".join(self._texts), MOST_CHARACTERS) if self._texts else None


class Draft:
    """The first tokens of a draft, for each of its choices, and some beyond them."""

    def __init__(self, most: int) -> None:
        self._most = most + BEYOND_TOKENS if most else 0
        self._pieces: dict[int, Gathered] = {}
        self._tokens: dict[int, int] = {}
        self._cut: set[int] = set()

    def add(self, pieces: Iterable[Piece]) -> None:
        """More of it."""
        for piece in pieces:
            kept = self._pieces.get(piece.index)
            if kept is None:
                kept = self._pieces[piece.index] = Gathered()
            tokens = self._tokens.get(piece.index, 0)
            if tokens < self._most and kept.count <= self._most:
                kept.add(piece)
            else:
                self._cut.add(piece.index)
            self._tokens[piece.index] = tokens + len(piece.tokens)

    def evidence(self, prompt: Prompt) -> tuple[int, Tokens]:
        """The tokens that speak for the draft, and how many there are in all; of several choices those of the one that
        was least likely."""
        seen = {index: tokens_of(choice_of(kept.pieces), prompt) for index, kept in self._pieces.items()}
        index = next(iter(seen), 0) if len(seen) < 2 else min(seen, key=lambda one: mean(seen[one]))
        tokens = seen.get(index, NO_TOKENS)
        return self._tokens[index] if index in self._cut else len(tokens), tokens[: self._most]


class Part:
    """What a tier did so far."""

    def __init__(self, rules: Rules) -> None:
        self.reason: str | None = None
        self.score: float | None = None
        self.confidence: float | None = None
        self.waited_s = 0.0
        self.first_piece_s: float | None = None
        self.opened_at: int | None = None
        self.opinions: tuple[Mapping[str, float], ...] = ()
        self.verdict: float | None = None
        self.draft = Draft(rules.evidence_tokens)
        self.said = Said(rules.redaction)


class Story:
    """Watches one request; then `decision` tells what became of it."""

    def __init__(self, rules: Rules, prompt: Prompt) -> None:
        self.id = new_id()
        self._rules = rules
        self._prompt = prompt
        self._parts: dict[str, Part] = {}
        self._score: float | None = None
        self._scored: Part | None = None
        self._answer = Said(rules.redaction)

    def observe(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Wrote(tier=tier, pieces=pieces):
                self._wrote(tier, pieces)
            case Began(tier=tier, waited_s=waited_s):
                self._part(tier).first_piece_s = waited_s
            case Planned() | Asked() | Finished():
                pass
            case Called(tier=tier, waited_s=waited_s):
                self._part(tier).waited_s += waited_s
            case Scored(tier=tier, score=score, confidence=confidence):
                part = self._part(tier)
                part.score, part.confidence = score, confidence
                self._score, self._scored = score, part
            case Opined(tier=tier, opinions=opinions):
                self._part(tier).opinions = opinions
            case Verdict(probability=probability) if self._scored is not None:
                self._scored.verdict = probability
            case Opened(tier=tier, tokens=tokens):
                self._part(tier).opened_at = tokens
            case (
                Accepted(tier=tier, reason=reason)
                | Escalated(tier=tier, reason=reason)
                | Failed(tier=tier, reason=reason)
            ):
                self._part(tier).reason = reason

    def answered(self, pieces: Sequence[Piece]) -> None:
        """The client is shown these."""
        if self._rules.texts:
            self._answer.add(pieces)

    def decision(self, outcome: Outcome, ending: Ending) -> Decision:
        """The decision, when the request has ended or is about to."""
        cascade = outcome.cascade
        judged = len(cascade.tiers) > 1 and cascade.policy.mode != "exact"
        return Decision(
            id=self.id,
            request_id=ending.request_id,
            response_id=ending.response_id,
            time=ending.time,
            endpoint=ending.endpoint,
            cascade=cascade.name,
            mode=cascade.policy.mode,
            tiers=tuple(tier.name for tier in cascade.tiers),
            tier=outcome.tier,
            escalated=outcome.escalated,
            reason=outcome.reason,
            status=ending.status,
            streamed=self._prompt.streams,
            steps=tuple(step_of(name, part, outcome.spent.get(name)) for name, part in self._parts.items()),
            cost=outcome.cost,
            cost_final_alone=outcome.cost_final_alone,
            cost_final_alone_estimated=outcome.estimates_final,
            seconds=brief(ending.seconds),
            waited_s=brief(outcome.waited_s),
            first_byte_s=None if ending.first_byte_s is None else brief(ending.first_byte_s),
            confidence=outcome.confidence,
            confidence_of=None if outcome.confidence is None else cascade.policy.scorer.confidence_of,
            score=self._score,
            threshold=cascade.policy.threshold if judged else None,
            failure=outcome.failure.reason if outcome.failure else None,
            task=ending.task,
            cluster=cascade.policy.cluster if judged else None,
            propensity=ending.propensity,
            artefact=ending.artefact,
            verdict=outcome.verdict,
            key=ending.key,
            evidence=tuple(self._evidence()),
            texts=self._texts() if self._rules.texts else None,
        )

    def _part(self, tier: str) -> Part:
        part = self._parts.get(tier)
        if part is None:
            part = self._parts[tier] = Part(self._rules)
        return part

    def _wrote(self, tier: str, pieces: Sequence[Piece]) -> None:
        part = self._part(tier)
        part.draft.add(pieces)
        if self._rules.texts:
            part.said.add(pieces)

    def _evidence(self) -> Iterable[Evidence]:
        for tier, part in self._parts.items():
            count, tokens = part.draft.evidence(self._prompt)
            if tokens:
                most = self._rules.evidence_tokens
                said = self._rules.redaction.of_tokens(tokens.texts) if self._rules.texts else None
                logprobs = rounded(tokens.logprobs[:most])
                yield Evidence(tier, count, logprobs, None if said is None else said[:most])

    def _texts(self) -> Texts:
        drafts = {tier: part.said.text for tier, part in self._parts.items()}
        request = request_of(self._prompt)
        return Texts(
            None if request is None else self._rules.redaction.of_request(request),
            self._answer.text,
            {tier: text for tier, text in drafts.items() if text},
        )


def step_of(tier: str, part: Part, spent: Spent | None) -> Step:
    """A tier's part as it is kept."""
    usage = spent.usage if spent else Usage(0, 0)
    return Step(
        tier,
        reason=part.reason,
        score=part.score,
        confidence=part.confidence,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        estimated=usage.estimated,
        cost=spent.cost if spent else 0.0,
        waited_s=brief(part.waited_s),
        first_piece_s=None if part.first_piece_s is None else brief(part.first_piece_s),
        opened_at=part.opened_at,
        opinions=part.opinions,
        verdict=part.verdict,
    )


def brief(seconds: float) -> float:
    """To a microsecond."""
    return round(seconds, SECONDS_DIGITS)


def rounded(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Log-probabilities (nats) to the nearest of `STEPS`, by sums, which take half the time that calls do. What is no
    number stays that, infinite ones stay so, and those beyond 1e304 become so."""
    return tuple([(logprob * STEPS + WHOLE - WHOLE) / STEPS for logprob in logprobs])


def tokens_of(choice: Choice, prompt: Prompt) -> Tokens:
    """The tokens that a choice is scored by; all of them where it cannot be, or where nothing could be left out."""
    if not (choice.reasoning or choice.tool_calls or prompt.constrains):
        return choice.tokens
    evidence = evidence_of(choice, prompt)
    return choice.tokens if isinstance(evidence, str) else evidence.tokens


def mean(tokens: Tokens) -> float:
    """Of their log-probabilities, in nats; of none 0."""
    return sum(tokens.logprobs) / max(1, len(tokens))


def words_of(message: WireMessage) -> str:
    """What a message says to the client, and what it calls."""
    functions = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    called = [(function.get("name") or "") + (function.get("arguments") or "") for function in functions]
    return "".join((message.get("content") or "", message.get("refusal") or "", *called))


def request_of(prompt: Prompt) -> JsonObject | None:
    """The request as the tiers got it; None where it is too large to be kept."""
    fields = dict(prompt.fields)
    return fields if len(orjson.dumps(fields)) <= MOST_REQUEST_BYTES else None
