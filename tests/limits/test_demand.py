"""What a request could take at most, before it is begun."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.answer import Delta, Finish, Usage
from models.prompt import Prompt
from router.call import Tier
from router.cascade import Cascade
from router.events import Called
from router.failover import Failover
from router.foreseeing import Embedder
from router.graders import grader_of
from router.money import LengthRatio, Price
from router.opinions import Agreement, PTrue
from router.outcome import Outcome
from router.policy import Policy
from router.scorers import SCORERS, scorer_of
from router.skipping import EmbeddingGain, Skip
from router.verdict import Band
from server.limits.demand import most, prompt_tokens, share_of, taken
from server.limits.standing import Amount, moment_of


class Silent:
    """A model that is not asked."""

    takes_handover = True
    goes_on = True

    def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Never."""
        raise AssertionError(prompt)


class Unasked:
    """Servers that embed nothing."""

    async def embed(self, text: str, request_id: str) -> Any:
        """Never."""
        raise AssertionError(text + request_id)

    def is_another(self, fingerprint: str | None) -> bool:
        """No."""
        return fingerprint == ""


SMALL = Tier("small", Silent(), Price(1.0, 2.0))
LARGE = Tier("large", Silent(), Price(10.0, 20.0))
POLICY = Policy("threshold", SCORERS["mean-logprob"], 0.5, (), "escalate")
PAIR = Cascade("auto", (SMALL, LARGE), POLICY, LengthRatio(), Failover(1.0))
ALONE = replace(PAIR, tiers=(LARGE,))
UNSTATED = 1000


def prompt(text: str = "x" * 400, **fields: Any) -> Prompt:
    """A question of about 100 tokens."""
    return Prompt({"messages": [{"role": "user", "content": text}], **fields}, "1")


def asked(**fields: Any) -> int:
    """The estimate of its prompt."""
    return prompt_tokens(prompt(**fields))


def test_a_single_tier_takes_its_prompt_and_its_longest_answer() -> None:
    tokens = asked()

    assert most(ALONE, prompt(max_tokens=50), UNSTATED) == Amount(tokens + 50, (tokens * 10 + 50 * 20) * 1000)


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({}, UNSTATED),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"n": 3}, 3 * UNSTATED),
        ({"max_tokens": 10**9, "n": 128}, 128 * 10**9),
    ],
)
def test_each_choice_may_be_as_long_as_the_client_lets_it(fields: dict[str, Any], written: int) -> None:
    assert most(ALONE, prompt(**fields), UNSTATED).tokens == asked() + written


def test_a_cascade_may_ask_all_its_tiers() -> None:
    assert most(PAIR, prompt(max_tokens=50), UNSTATED).tokens == 2 * (asked() + 50)


def test_mode_exact_drafts_where_drafts_are_of_use() -> None:
    exact = replace(PAIR, policy=replace(POLICY, mode="exact"))

    assert most(exact, prompt(max_tokens=50), UNSTATED).tokens == 2 * (asked() + 50)


def test_a_stream_that_is_gone_on_with_has_what_was_shown_in_its_prompt() -> None:
    live = replace(PAIR, policy=replace(POLICY, stream=replace(POLICY.stream, on_doubt="continue")))

    assert most(live, prompt(max_tokens=50), UNSTATED).tokens == 2 * (asked() + 50) + 50


def test_questions_about_drafts_count() -> None:
    plain = most(PAIR, prompt(max_tokens=50), UNSTATED)
    judged = replace(PAIR, policy=replace(POLICY, verdict=Band(low=0.4, high=0.6)))
    helped = replace(
        PAIR,
        policy=replace(POLICY, scorer=scorer_of("agreement")),
        opinions={"agreement": Agreement(LARGE, grader_of("exact")), "p-true": PTrue()},
    )

    assert most(judged, prompt(max_tokens=50), UNSTATED).tokens >= plain.tokens + asked() + 50
    assert most(judged, prompt(max_tokens=50, n=4), UNSTATED).tokens >= 2 * (asked() + 200) + 4 * (asked() + 50)
    assert most(helped, prompt(max_tokens=50), UNSTATED).tokens == 3 * (asked() + 50)


def test_the_embedding_of_a_prompt_counts() -> None:
    skip = Skip(EmbeddingGain(model="m", intercept=0.0, weights=(1.0,)), 0.5)
    skipping = replace(PAIR, policy=replace(POLICY, skip=skip), embedder=Embedder(LARGE, Unasked()))

    more = most(skipping, prompt(max_tokens=50), UNSTATED).tokens - most(PAIR, prompt(max_tokens=50), UNSTATED).tokens

    assert more == asked()


@given(st.text(max_size=200))
def test_a_text_is_never_taken_for_less_than_a_token_for_each_four_characters(text: str) -> None:
    assert prompt_tokens(prompt(text)) >= len(text) // 4


def test_other_scripts_have_more_tokens_a_character() -> None:
    assert asked(text="的" * 400) > 2.5 * asked(text="x" * 400)


def test_images_tools_and_token_ids_count() -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:" + "x" * 10**6}}]
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 400}}]

    assert 1024 <= asked(text=image) < 1200
    assert asked(tools=tools) >= asked() + 100
    assert prompt_tokens(Prompt({"prompt": [5] * 300}, "1", form="completion")) >= 300


def test_a_wish_for_a_very_long_answer_is_no_reason_to_wait_longer() -> None:
    assert share_of(prompt(max_tokens=10**9), UNSTATED) == asked() + 4096
    assert share_of(prompt(), UNSTATED) == asked() + UNSTATED


def test_what_was_taken_is_every_call() -> None:
    outcome = Outcome(PAIR)
    for call in (
        Called("small", Usage(10, 3), 0.1),
        Called("small", Usage(20, 1), 0.1, about="opinion"),
        Called("large", Usage(30, 1), 0.1, about="verdict"),
        Called("large", Usage(10, 5, estimated=True), 0.1),
    ):
        outcome.observe(call)

    assert taken(outcome) == Amount(80, (30 * 1 + 4 * 2 + 40 * 10 + 6 * 20) * 1000)


def test_a_moment_knows_when_its_day_and_its_month_end() -> None:
    leap_day = moment_of(0.0, 1709164800.0 + 60)  # 2024-02-29T00:01:00Z
    new_years_eve = moment_of(0.0, 1767225599.5)  # 2025-12-31T23:59:59.5Z

    assert (leap_day.day, leap_day.month) == ("2024-02-29", "2024-02")
    assert leap_day.day_left_s == leap_day.month_left_s == 86340
    assert (new_years_eve.day, new_years_eve.month_left_s) == ("2025-12-31", 1)


@pytest.mark.parametrize("told", [
    {"documents": [{"title": "x", "text": "y" * 4000}]}, {"chat_template_kwargs": {"context": "y" * 4000}},
    {"functions": [{"name": "f", "description": "y" * 4000}]}, {"tools": [{"function": {"description": "y" * 4000}}]},
])  # fmt: skip
def test_what_a_template_is_told_beside_the_messages_is_reserved_too(told: dict[str, Any]) -> None:
    asked = {"messages": [{"role": "user", "content": "is it?"}]}

    more = prompt_tokens(Prompt({**asked, **told}, "1")) - prompt_tokens(Prompt(asked, "1"))

    assert 1000 <= more < 1010
