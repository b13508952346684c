"""Scores and evidence of a draft under way are those of the whole, as far as it has come."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.answer import Choice, Piece, ToolCall
from models.prompt import Prompt
from models.tokens import Token, Tokens
from router.evidence import EvidenceSoFar, evidence_of
from router.running import RunningQuantile
from router.scorers import LOW_QUANTILE, SCORERS, Evidence, Scorer, low_quantile_logprob

LOGPROBS = st.floats(-90, -1e-5)
TOKENS = st.lists(
    st.builds(Token, st.just("ab"), LOGPROBS, st.lists(LOGPROBS, max_size=5).map(tuple)), min_size=1, max_size=60
)
PROMPT = Prompt({"messages": [{"role": "user", "content": "x"}]}, "id")
EXACT = [scorer for scorer in SCORERS.values() if scorer.name != "low-quantile-logprob"]


def piece(tokens: list[Token], **message: str) -> Piece:
    """A delta of these tokens, which say what they say."""
    return Piece(0, message or {"content": "".join(token.text for token in tokens)}, Tokens.of(tokens))


@pytest.mark.parametrize("scorer", EXACT, ids=lambda scorer: scorer.name)
@given(tokens=TOKENS)
def test_a_running_score_is_the_score_of_the_tokens_so_far(scorer: Scorer, tokens: list[Token]) -> None:
    running = scorer.running()
    for count, token in enumerate(tokens, 1):
        running.add(token)
        assert running.score == pytest.approx(scorer.score(Evidence(Tokens.of(tokens[:count]))), abs=1e-9)


@given(tokens=TOKENS)
def test_a_running_quantile_is_within_half_a_percent(tokens: list[Token]) -> None:
    running = RunningQuantile(LOW_QUANTILE)
    for token in tokens:
        running.add(token)

    assert running.score == pytest.approx(low_quantile_logprob(Tokens.of(tokens)), rel=0.0051)


def test_a_running_quantile_does_not_grow_with_its_tokens() -> None:
    running = RunningQuantile(LOW_QUANTILE)
    for place in range(1, 200_000):
        running.add(Token("x", -((place * 7919) % 99_991) / 1000 - 1e-6))

    assert len(running._buckets) <= 1900
    assert running.score < -80


@given(tokens=TOKENS)
def test_evidence_so_far_is_that_of_the_draft(tokens: list[Token]) -> None:
    scorer = SCORERS["mean-logprob"]
    evidence = EvidenceSoFar(scorer)
    for token in tokens:
        evidence.add(piece([token]))

    choice = Choice("ab" * len(tokens), "", "", (), Tokens.of(tokens), "stop")
    whole = evidence_of(choice, PROMPT)
    assert not isinstance(whole, str)
    assert evidence.missing is None
    assert (evidence.tokens, evidence.confidence) == (
        len(whole.tokens), pytest.approx(scorer.confidence(scorer.score(whole)))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pieces", "missing"),
    [
        ([piece([], content="words without tokens")], "no-evidence"),
        ([piece([Token("a", 0.0), Token("b", 0.0)])], "degenerate-evidence"),
        ([piece([Token("a", -0.1), Token("b", math.nan)])], "degenerate-evidence"),
        ([piece([Token("a", -0.1)], content="a much longer text than that")], "no-evidence"),
        ([piece([Token("hm", -0.1)], reasoning="hm")], "no-evidence"),
    ],
)
def test_evidence_that_is_none(pieces: list[Piece], missing: str) -> None:
    evidence = EvidenceSoFar(SCORERS["min-logprob"])
    for one in pieces:
        evidence.add(one)

    assert evidence.missing == missing


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=lambda scorer: scorer.name)
def test_what_is_no_number_is_no_evidence_and_no_error(scorer: Scorer) -> None:
    evidence = EvidenceSoFar(scorer)
    for logprob in (-0.1, math.nan, -0.1):
        evidence.add(piece([Token("ab", logprob)]))

    assert evidence.missing == "degenerate-evidence"
    assert evidence.confidence > 0.5


def test_reasoning_and_what_ends_it_do_not_count() -> None:
    evidence = EvidenceSoFar(SCORERS["min-logprob"])
    evidence.add(piece([Token("hm", -5.0)], reasoning="hm"))
    evidence.add(piece([Token("</think>", -5.0)], content=""))
    evidence.add(piece([Token("yes", -0.1)], content="yes"))

    assert (evidence.tokens, evidence.score) == (1, -0.1)


def test_words_before_a_tool_call_do_not_hide_its_evidence() -> None:
    tokens = tokens_of("Let me look that up for you, it will not take long. ", "<call>f", "{}")

    found = evidence_of(Choice(tokens.texts[0], "", "", (ToolCall("f", "{}"),), tokens, "tool_calls"), PROMPT)

    assert not isinstance(found, str)
    assert found.tokens == tokens[2:]


def tokens_of(*texts: str) -> Tokens:
    """Each less likely than the one before."""
    return Tokens.of(Token(text, -0.1 * (place + 1)) for place, text in enumerate(texts))


@pytest.mark.parametrize(
    ("texts", "arguments", "kept"),
    [
        (("<call>f", '{"a"', ": 1}", "</call>"), ['{"a": 1}'], (1, 3)),
        (("<call>f", ' {"a": 1', "}<", "/call>"), ['{"a": 1}'], (1, 3)),
        (("f", "{}", "g", "{}"), ["{}", "{}"], None),
        (("f", '{"a":1}', "x"), ['{"a": 1}'], (0, 3)),
    ],
    ids=["by themselves", "with what is around them", "of two calls", "written anew by the server"],
)
def test_the_evidence_for_tool_calls_is_their_arguments(
    texts: tuple[str, ...], arguments: list[str], kept: tuple[int, int] | None
) -> None:
    tokens = tokens_of(*texts)
    calls = tuple(ToolCall("f", text) for text in arguments)

    found = evidence_of(Choice("", "", "", calls, tokens, "tool_calls"), PROMPT)

    assert not isinstance(found, str)
    assert found.tokens == (tokens[slice(*kept)] if kept else tokens[1::2])
