"""Questions about a draft: when they are asked, what becomes of them, and what a draft is without answers."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from models.answer import Delta, Finish, Piece, Usage
from models.errors import CapabilityMiss, ModelError, Overloaded, Unreachable
from models.prompt import Prompt
from models.tokens import Token, Tokens
from router.call import Tier
from router.cascade import Cascade, answer
from router.events import Called, Escalated, Event, Failed, Opined, Scored, Verdict
from router.failover import Failover
from router.graders import GRADERS
from router.money import LengthRatio, Price
from router.opinions import Agreement, Opinion, PTrue
from router.outcome import Outcome
from router.policy import OnMissingEvidence, Policy
from router.scorers import SCORERS, AskingName, Scorer, scorer_of
from router.verdict import Band

PROMPT = Prompt({"messages": [{"role": "user", "content": "what is 6 times 7?"}], "stream": True}, "id")


@dataclass
class Says:
    """A model that answers with its texts, one for each choice, and to the question whether an answer is right with
    `p_true`; `begun` and `ended` are set by its answers, which wait for `until`."""

    texts: tuple[str, ...]
    p: float = 0.9
    p_true: float | None = None
    error: ModelError | None = None
    until: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    prompts: list[Prompt] = field(default_factory=list)
    questions: list[Prompt] = field(default_factory=list)
    hangs_when_asked: bool = False
    takes_handover: bool = False
    goes_on: bool = True

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Its answer, or one letter."""
        asked = "structured_outputs" in prompt.fields
        (self.questions if asked else self.prompts).append(prompt)
        self.begun.set()
        try:
            if self.until is not None and not asked:
                await self.until.wait()
            if self.error is not None:
                raise self.error
            if asked:
                if self.hangs_when_asked:
                    await asyncio.Event().wait()
                yield delta_of([Piece(0, {"content": "A"})], lettered(self.p_true))
            else:
                pieces = [
                    Piece(index, {"content": text}, Tokens.of([Token(text, math.log(self.p))]), "stop")
                    for index, text in enumerate(self.texts)
                ]
                yield delta_of(pieces, {"choices": []})
            yield Finish(Usage(10, 1))
        finally:
            self.ended.set()


def delta_of(pieces: list[Piece], reply: Any) -> Delta:
    """One reply."""
    return Delta(reply, tuple(pieces), time.perf_counter())


def lettered(p: float | None) -> Any:
    """The reply to the question; with None, one without log-probabilities."""
    if p is None:
        return {"choices": [{"logprobs": None}]}
    tokens = [{"token": letter, "logprob": math.log(max(share, 1e-300))} for letter, share in (("A", p), ("B", 1 - p))]
    return {"choices": [{"logprobs": {"content": [{**tokens[0], "top_logprobs": tokens}]}}]}


def cascade_of(
    small: Says, large: Says, *, asks: Any = "agreement", helper: Says | None = None, threshold: float = 0.5,
    missing: OnMissingEvidence = "escalate", scorer: Scorer | None = None, verdict: Band | None = None,
    share: float = 1.0,
) -> Cascade:  # fmt: skip
    """Two tiers, and who is asked about drafts; each call costs as many units as it has tokens."""
    tiers = [Tier(name, model, Price(1e6, 1e6)) for name, model in (("small", small), ("large", large))]
    opinions: dict[AskingName, Opinion] = {"p-true": PTrue()}
    if helper is not None:
        opinions["agreement"] = Agreement(Tier("helper", helper, Price(1e6, 1e6)), GRADERS["numeric"])
    chosen = scorer or (SCORERS["margin"] if asks == "verdict" else scorer_of(asks))
    policy = Policy("threshold", chosen, threshold, ("empty",), missing, verdict=verdict)
    return Cascade("auto", tuple(tiers), policy, LengthRatio(), Failover(share), opinions=opinions)


async def run(cascade: Cascade, prompt: Prompt = PROMPT) -> tuple[str, list[Event]]:
    """The answer, and what happened."""
    events: list[Event] = []
    async with aclosing(answer(cascade, prompt, events.append)) as parts:
        deltas = [part async for part in parts if isinstance(part, Delta)]
    return " ".join(str(piece.message["content"]) for delta in deltas for piece in delta.pieces), events


def of_type(kind: type, events: list[Event]) -> list[Any]:
    """Those of the events."""
    return [event for event in events if isinstance(event, kind)]


def both(**said: float) -> Scorer:
    """A scorer that reads both answers: their weighted sum."""

    def score(evidence: Any) -> float:
        return sum(weight * evidence.opinions[name.replace("_", "-")] for name, weight in said.items())

    names = tuple(name.replace("_", "-") for name in said)
    return replace(scorer_of("p-true"), score=score, opinions=names)


@pytest.mark.parametrize(("helped", "answered"), [("It is 42.", "42"), ("It is 41.", "43")])
async def test_a_draft_that_a_helper_agrees_with_is_accepted(helped: str, answered: str) -> None:
    small, large, helper = Says(("42",)), Says(("43",)), Says((helped,))

    text, events = await run(cascade_of(small, large, helper=helper))

    assert text == answered
    agreement = float(answered == "42")
    assert of_type(Opined, events)[0].opinions == ({"agreement": agreement},)
    assert of_type(Scored, events) == [Scored("small", agreement, agreement)]


async def test_the_helper_answers_while_the_drafter_does() -> None:
    helper = Says(("42",))
    small = Says(("42",), until=helper.ended)  # who waited for the draft first would wait for ever

    async with asyncio.timeout(10):
        text, _ = await run(cascade_of(small, Says(("43",)), helper=helper))

    assert text == "42"


async def test_the_helper_is_asked_for_one_answer_in_one_piece() -> None:
    helper = Says(("42",))
    prompt = Prompt({**PROMPT.fields, "n": 2, "logprobs": True, "top_logprobs": 2, "temperature": 0.3}, "id")

    await run(cascade_of(Says(("42", "42")), Says(("43",)), helper=helper), prompt)

    assert helper.prompts[0].fields == {"messages": PROMPT.fields["messages"], "temperature": 0.3}


async def test_a_model_is_asked_about_its_own_draft() -> None:
    small, large = Says(("42",), p_true=0.8), Says(("43",))

    text, events = await run(cascade_of(small, large, asks="p-true"))

    assert text == "42"
    assert of_type(Opined, events)[0].opinions == ({"p-true": pytest.approx(0.8)},)
    assert [(call.tier, call.about) for call in of_type(Called, events)] == [("small", "answer"), ("small", "opinion")]
    assert large.questions == large.prompts == []


async def test_of_several_choices_the_least_likely_one_counts() -> None:
    small, large = Says(("42", "41")), Says(("43",))

    text, events = await run(cascade_of(small, large, helper=Says(("42",))))

    assert text == "43"
    assert of_type(Opined, events)[0].opinions == ({"agreement": 1.0}, {"agreement": 0.0})


async def test_a_scorer_may_read_several_answers() -> None:
    small, helper = Says(("42",), p_true=0.4), Says(("42",))

    _, events = await run(
        cascade_of(small, Says(("43",)), helper=helper, scorer=both(p_true=0.5, agreement=0.5), threshold=0.7)
    )

    assert of_type(Scored, events)[0].confidence == pytest.approx(0.7)
    assert len(small.questions) == 1


@pytest.mark.parametrize(
    ("helper", "failed"),
    [
        (Says(("I would not know.",)), None),
        (Says((), error=Unreachable("gone")), "unreachable"),
        (Says((), error=CapabilityMiss("too long")), "capability"),
    ],
    ids=["says nothing", "fails", "cannot take it"],
)
@pytest.mark.parametrize(("missing", "answered"), [("escalate", "43"), ("accept", "42")])
async def test_what_a_helper_does_not_say_is_missing_evidence(
    helper: Says, failed: str | None, missing: OnMissingEvidence, answered: str
) -> None:
    text, events = await run(cascade_of(Says(("42",)), Says(("43",)), helper=helper, missing=missing))

    assert text == answered
    assert [(one.reason, one.about) for one in of_type(Failed, events)] == [(failed, "opinion")] * (failed is not None)
    assert not of_type(Scored, events)
    if missing == "escalate":
        assert of_type(Escalated, events) == [Escalated("small", "large", "no-evidence")]


async def test_where_one_question_fails_the_others_are_not_asked() -> None:
    small, helper = Says(("42",), p_true=0.9), Says((), error=Unreachable("gone"))
    small.until = helper.ended

    await run(cascade_of(small, Says(("43",)), helper=helper, scorer=both(p_true=0.5, agreement=0.5)))

    assert small.questions == []


async def test_under_a_certificate_what_is_not_said_is_never_accepted() -> None:
    cascade = cascade_of(Says(("42",)), Says(("43",)), helper=Says((), error=Unreachable("gone")), missing="accept")
    certified = replace(cascade, policy=replace(cascade.policy, mode="certified"))

    text, _ = await run(certified)

    assert text == "43"


async def test_a_helper_that_fails_does_not_drown_the_final_tier() -> None:
    cascade = cascade_of(Says(("42",)), Says(("43",)), helper=Says((), error=Unreachable("gone")), share=0.0)
    for _ in range(20):
        await run(cascade)

    with pytest.raises(Overloaded):
        await run(cascade)


async def test_a_helper_that_knows_nothing_is_no_failure_of_anyone() -> None:
    cascade = cascade_of(Says(("42",)), Says(("43",)), helper=Says(("no",)), share=0.0)

    for _ in range(25):
        assert (await run(cascade))[0] == "43"


@pytest.mark.parametrize(
    ("small", "reason"),
    [(Says(("",)), "empty"), (Says((), error=Unreachable("gone")), "unreachable")],
    ids=["fails a check", "fails"],
)
async def test_a_draft_that_is_lost_anyway_ends_its_questions(small: Says, reason: str) -> None:
    helper = Says(("42",), until=asyncio.Event())
    small.until = helper.begun

    text, events = await run(cascade_of(small, Says(("43",)), helper=helper, scorer=both(p_true=1.0, agreement=1.0)))

    assert text == "43"
    assert helper.ended.is_set()
    assert small.questions == []
    assert of_type(Escalated, events)[0].reason == reason
    assert not of_type(Opined, events)
    assert ("helper", "opinion") in [(call.tier, call.about) for call in of_type(Called, events)]


@pytest.mark.parametrize("kind", ["p-true", "verdict", "agreement"])
async def test_a_request_that_is_cancelled_ends_its_questions(kind: str) -> None:
    small, large, helper = Says(("42",), p_true=0.9), Says(("43",), p_true=0.9), Says(("42",))
    asked = {"p-true": small, "verdict": large, "agreement": helper}[kind]
    asked.hangs_when_asked = True
    helper.until = asyncio.Event() if kind == "agreement" else None
    band = Band(low=0.1, high=0.99) if kind == "verdict" else None
    cascade = cascade_of(small, large, asks=kind, helper=helper, verdict=band)
    events: list[Event] = []

    async def read() -> None:
        async with aclosing(answer(cascade, PROMPT, events.append)) as parts:
            async for _ in parts:
                raise AssertionError

    reading = asyncio.create_task(read())
    async with asyncio.timeout(10):
        while not (asked.prompts if kind == "agreement" else asked.questions):  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert reading.cancelled()
    assert asked.ended.is_set()
    assert of_type(Called, events)[-1].about == ("verdict" if kind == "verdict" else "opinion")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_every_call_is_paid_for_and_the_answer_alone_is_the_clients() -> None:
    small, helper = Says(("42",), p_true=0.9), Says(("42",))
    cascade = cascade_of(small, Says(("43",)), helper=helper, scorer=both(p_true=0.5, agreement=0.5))
    _, events = await run(cascade)
    outcome = Outcome(cascade)

    for event in events:
        outcome.observe(event)

    assert {name: spent.cost for name, spent in outcome.spent.items()} == {"small": 22.0, "helper": 11.0}
    assert outcome.answered == {"small": Usage(10, 1)}
    assert (outcome.cost, outcome.estimates_final, outcome.cost_final_alone) == (33.0, True, 11.0)


async def test_what_is_waited_for_at_once_is_counted_once() -> None:
    cascade = cascade_of(Says(("42",)), Says(("43",)), helper=Says(("42",)))
    outcome = Outcome(cascade)

    for event in (
        Called("helper", Usage(1, 1), 5.0, about="opinion"),
        Called("small", Usage(1, 1), 4.0),
        Opined("small", ({"agreement": 1.0},), 1.0),
        Failed("small", "timeout", "opinion"),
        Called("large", Usage(1, 1), 0.5, about="verdict"),
        Verdict("large", 0.7),
    ):
        outcome.observe(event)

    assert outcome.waited_s == pytest.approx(5.5)
    assert (outcome.verdict, outcome.failure) == (0.7, None)


async def test_no_more_than_a_few_choices_are_asked_about() -> None:
    small = Says(("42",) * 9, p_true=0.9)

    text, events = await run(cascade_of(small, Says(("43",)), asks="p-true"))

    assert (text, small.questions) == ("43", [])
    assert of_type(Escalated, events)[0].reason == "no-evidence"


@pytest.mark.parametrize(
    ("kinds", "reason"), [(frozenset[Any](), "no-evidence"), (frozenset[Any]({"image"}), None)], ids=["text", "images"]
)
async def test_a_helper_is_not_asked_about_what_it_does_not_understand(kinds: Any, reason: str | None) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:,"}}
    prompt = Prompt({"messages": [{"role": "user", "content": [part]}]}, "id")
    helper = Says(("42",))
    cascade = cascade_of(Says(("42",)), Says(("43",)), helper=helper)
    agreement = Agreement(Tier("helper", helper, Price(1, 1), kinds), GRADERS["numeric"])

    _, events = await run(replace(cascade, opinions={"agreement": agreement}), prompt)

    assert [one.reason for one in of_type(Escalated, events)] == [reason] * (reason is not None)
    assert len(helper.prompts) == (reason is None)


@pytest.mark.parametrize("opinions", [{}, {"p-true": PTrue()}])
async def test_a_question_that_nobody_is_asked_is_missing_evidence(opinions: Mapping[AskingName, Opinion]) -> None:
    cascade = cascade_of(Says(("42",)), Says(("43",)), helper=Says(("42",)))

    text, _ = await run(replace(cascade, opinions=opinions))

    assert text == "43"
