"""Mixed answers: a client of a cascade sees one model's answer, and never a word of a draft that was rejected."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from server.conformance.case import case
from server.conformance.gateway import Answer
from server.conformance.json_values import Json, at
from server.conformance.plays import LARGE, SMALL, UNSURE, Play, Reply, calls, thinks, words
from server.conformance.stage import Stage
from server.conformance.streams import Folded, folded
from server.conformance.wrong import Wrong, expect, expect_text

AREA = "mixing"
LENGTH = 60
DRAFT = "draft0 draft1 draft2 draft3 draft4 draft5 draft6 draft7"
ANSWER = "answer0 answer1 answer2 answer3 answer4 answer5"
TOOLS: Json = [{"type": "function", "function": {"name": "draft_call", "parameters": {"type": "object"}}}]
AT_ONCE = 20


async def sure_draft_is_the_answer(stage: Stage) -> str:
    """The answer to a request whose draft is sure is one model's, whole and streamed."""
    with stage.plays(words(DRAFT), large=words(ANSWER)) as play:
        texts = await whole_and_streamed(stage, play)
    for text in texts:
        expect(text in (DRAFT, ANSWER), f"neither model's answer: {text[:60]!r}")
    return f"{'the small' if DRAFT in texts else 'the large'} model's"


async def rejected_draft_is_unseen(stage: Stage) -> str:
    """No word of a rejected draft is in the reply, and the text is the large model's."""
    with stage.plays(words(DRAFT, UNSURE), large=words(ANSWER)) as play:
        answer = await stage.ask(play)
    expect_text(at(answer.whole(), "choices", 0, "message", "content"), ANSWER)
    return rejected(play, answer)


async def rejected_draft_is_unseen_in_streams(stage: Stage) -> str:
    """The same of a stream."""
    with stage.plays(words(DRAFT, UNSURE), large=words(ANSWER)) as play:
        answer = await stage.ask(play, stream=True)
    expect_text(folded(answer.streamed()).get(0, Folded()).content, ANSWER)
    return rejected(play, answer)


async def rejected_logprobs_are_unseen(stage: Stage) -> str:
    """The same where the client asked for log-probabilities: those that it gets are the answer's."""
    with stage.plays(words(DRAFT, UNSURE), large=words(ANSWER)) as play:
        answer = await stage.ask(play, stream=True, logprobs=True, top_logprobs=1)
    tokens = [at(token, "token") for token in folded(answer.streamed()).get(0, Folded()).tokens]
    expect("".join(map(str, tokens)) == ANSWER, f"log-probabilities of other tokens: {tokens[:4]}")
    return rejected(play, answer)


async def rejected_call_is_unseen(stage: Stage) -> str:
    """No part of a rejected tool call is in the reply or the stream."""
    draft = calls(("draft_call", '{"draft": "draft0"}'), p=UNSURE)
    with stage.plays(draft, large=words(ANSWER)) as play:
        whole = await stage.ask(play, tools=TOOLS)
        streamed = await stage.ask(play, stream=True, tools=TOOLS)
    expect_text(at(whole.whole(), "choices", 0, "message", "content"), ANSWER)
    choice = folded(streamed.streamed()).get(0, Folded())
    expect_text(choice.content, ANSWER, "the streamed text")
    rejected(play, whole)
    return rejected(play, streamed)


async def rejected_reasoning_is_unseen(stage: Stage) -> str:
    """No thought of a rejected draft is in the reply or the stream."""
    with stage.plays(thinks("reasoning", "draft8 draft9", DRAFT, UNSURE), large=words(ANSWER)) as play:
        whole = await stage.ask(play)
        streamed = await stage.ask(play, stream=True)
    expect_text(at(whole.whole(), "choices", 0, "message", "content"), ANSWER)
    expect_text(folded(streamed.streamed()).get(0, Folded()).content, ANSWER, "the streamed text")
    rejected(play, whole)
    return rejected(play, streamed)


async def late_doubt_joins_once(stage: Stage) -> str:
    """A draft that is sure at first and then is not: the stream is one model's answer, or the beginning of the draft
    and the rest of the large model's answer, joined once."""
    drafted = words(" ".join(f"draft{place}" for place in range(LENGTH)))
    late = replace(
        drafted,
        pieces=tuple(
            replace(piece, p=piece.p if place < LENGTH // 2 else 1e-6) for place, piece in enumerate(drafted.pieces)
        ),
    )
    final = words(" ".join(f"answer{place}" for place in range(LENGTH)))
    with stage.plays(late, large=final) as play:
        choice = folded((await stage.ask(play, stream=True)).streamed()).get(0, Folded())
    joined = joins(late, final)
    expect(choice.content in joined, f"no join of the two answers: {around_first_switch(choice.content)!r}")
    expect(len(choice.roles) == 1 and len(choice.finish_reasons) == 1, "the role or the finish reason came twice")
    return f"{joined[choice.content]} words of the draft"


def joins(draft: Reply, final: Reply) -> dict[str, int]:
    """Every beginning of the draft with the final answer's rest, and how many words of the draft it has."""
    drafted, answered = ([piece.token for piece in reply.pieces] for reply in (draft, final))
    return {"".join(drafted[:kept] + answered[kept:]): kept for kept in range(LENGTH + 1)}


def around_first_switch(text: str) -> str:
    """Where a text goes from one model's words to the other's, for a table."""
    place = text.find("answer")
    return text[max(0, place - 20) : place + 40] if place >= 0 else text[:60]


async def broken_draft_is_unseen(stage: Stage) -> str:
    """A small model whose connection breaks in the middle leaves no word in the answer, whole and streamed: it is the
    large model's, or an error."""
    return await failing_draft(stage, words(DRAFT).with_trouble("reset-amid"))


async def failed_draft_is_unseen(stage: Stage) -> str:
    """A small model that answers 500 leaves nothing in the answer: it is the large model's, or an error."""
    return await failing_draft(stage, words(DRAFT).with_trouble("500"))


async def failing_draft(stage: Stage, draft: Reply) -> str:
    """Ask whole and streamed, with a small model that fails."""
    with stage.plays(draft, large=words(ANSWER)) as play:
        answers = [await stage.ask(play), await stage.ask(play, stream=True)]
    for answer in answers:
        expect(b"draft" not in answer.body, "words of the failed draft")
    whole, streamed = answers
    if whole.status == streamed.status == 200:
        expect_text(at(whole.whole(), "choices", 0, "message", "content"), ANSWER)
        expect_text(folded(streamed.streamed()).get(0, Folded()).content, ANSWER, "the streamed text")
    return f"status {whole.status}, streamed {streamed.status}"


async def usage_is_the_answers(stage: Stage) -> str:
    """The usage of an escalated request counts the tokens of the answer that the client got."""
    final = words(ANSWER)
    with stage.plays(words(DRAFT, UNSURE), large=final) as play:
        body = (await stage.ask(play)).whole()
    counted = at(body, "usage", "completion_tokens")
    expect(counted == len(final.pieces), f"{counted} completion tokens, the answer has {len(final.pieces)}")
    return f"{counted} completion tokens"


async def simultaneous_decisions_stay_apart(stage: Stage) -> str:
    """Of twenty requests at once, every other one escalated, each gets the answer of its own."""

    async def asked(number: int) -> None:
        draft, final = words(f"draft of {number}", UNSURE if number % 2 else 0.999), words(f"answer to {number}")
        with stage.plays(draft, large=final) as play:
            choice = folded((await stage.ask(play, stream=True)).streamed()).get(0, Folded())
        wanted = (final.text,) if number % 2 else (draft.text, final.text)
        expect(choice.content in wanted, f"to {number}: {choice.content[:60]!r}")

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(asked(number))
    except* Wrong as wrongs:
        raise Wrong(f"{len(wrongs.exceptions)} of {AT_ONCE}: {wrongs.exceptions[0]}") from None
    return f"{AT_ONCE} answers"


async def whole_and_streamed(stage: Stage, play: Play) -> Sequence[str]:
    """The texts of both."""
    whole = at((await stage.ask(play)).whole(), "choices", 0, "message", "content")
    streamed = folded((await stage.ask(play, stream=True)).streamed()).get(0, Folded()).content
    return str(whole), streamed


def rejected(play: Play, answer: Answer) -> str:
    """Raise Wrong where words of the draft are anywhere in the answer, or where no draft was made and rejected."""
    expect(bool(play.asked(SMALL)), "the small model was not asked: is it a cascade?")
    expect(bool(play.asked(LARGE)), "the unsure draft was not escalated")
    expect(b"draft" not in answer.body, "words of the rejected draft")
    return "the large model's alone"


CASES = (
    case(AREA, "sure-draft", sure_draft_is_the_answer, "cascade"),
    case(AREA, "rejected-draft", rejected_draft_is_unseen, "cascade"),
    case(AREA, "rejected-draft-streamed", rejected_draft_is_unseen_in_streams, "cascade"),
    case(AREA, "rejected-logprobs", rejected_logprobs_are_unseen, "cascade"),
    case(AREA, "rejected-tool-call", rejected_call_is_unseen, "cascade"),
    case(AREA, "rejected-reasoning", rejected_reasoning_is_unseen, "cascade"),
    case(AREA, "late-doubt", late_doubt_joins_once, "cascade"),
    case(AREA, "broken-draft", broken_draft_is_unseen, "cascade"),
    case(AREA, "failed-draft", failed_draft_is_unseen, "cascade"),
    case(AREA, "usage", usage_is_the_answers, "cascade"),
    case(AREA, "simultaneous-decisions", simultaneous_decisions_stay_apart, "cascade"),
)
