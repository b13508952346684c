"""P(True) beside what is recorded: asked as the gateway asks it, and kept with the draft."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from fakes.scripted import Script, ScriptedServer, is_question

from models.endpoint import Endpoint, Limits
from models.replica import Replica
from models.session import Session
from router.lab.asking import Patience
from router.lab.keeping import keeper
from router.lab.opining import Opining
from router.lab.outcomes import BadRecord, Recorded, p_true_in
from router.lab.questions import Question, question_of
from router.lab.recording import Asked, CannotRecord, Recorder
from router.money import Price
from router.p_true import QUESTION

QUICK = Patience(first_pause_s=0.001, longest_pause_s=0.002)
ASKED = question_of(b'{"id": "1", "prompt": "is it?"}', "")


@asynccontextmanager
async def asked(server: ScriptedServer) -> AsyncIterator[Asked]:
    """A running server as the tier `small`."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(Session())
        await stack.enter_async_context(server)
        replica = Replica(Endpoint(server.url, "scripted"), session=session, limits=Limits())
        yield Asked("small", "scripted", replica, Price(1, 2), lambda: {"abc"})


async def recorded(tiers: list[Asked], opining: Opining, question: Question = ASKED) -> tuple[Recorder, list[Recorded]]:
    """One question, as it is kept."""
    kept: list[Recorded] = []

    async def keep(one: Recorded) -> None:
        kept.append(one)

    recorder = Recorder(tiers, keep, at_once=2, patience=QUICK, examining=opining)
    async with asyncio.timeout(30):
        await recorder.run([question])
    return recorder, kept


async def test_p_true_is_kept_with_the_draft_and_says_whose_it_is_and_what_it_cost() -> None:
    server = ScriptedServer(Script("yes it is", p_true=0.8))

    async with asked(server) as tier:
        _, (question,) = await recorded([tier], Opining("small", tier))

    output = question.outputs["small"]
    opinion = (output.opinions or {})["p-true"]
    assert p_true_in(output) == pytest.approx(0.8)
    assert (opinion.model, opinion.fingerprint, opinion.cost) == ("scripted", "abc", pytest.approx(22e-6))
    assert opinion.seconds is not None
    assert 0 < opinion.seconds < 30
    assert [message["content"] for message in server.seen[1]["messages"]] == ["is it?", "yes it is", QUESTION]
    assert output.cost == pytest.approx(16e-6), "the draft's own"


async def test_the_question_is_the_gateways_own_word_for_word(gateway) -> None:
    cascade = await gateway(small=Script("yes", p_true=0.8), large=Script(), scorer="p-true", opinions={"p-true": {}})
    await cascade.client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "is it?"}], seed=3)
    server = ScriptedServer(Script("yes", p_true=0.8))

    async with asked(server) as tier:
        line = b'{"messages": [{"role": "user", "content": "is it?"}], "seed": 3}'
        await recorded([tier], Opining("small", tier), question_of(line, ""))

    assert [body for body in server.seen if is_question(body)] == [
        body for body in cascade.small.seen if is_question(body)
    ]


@pytest.mark.parametrize("script", [Script(when_asked=400), Script(p_true=None)], ids=["refused", "words"])
async def test_what_is_not_told_is_kept_as_that(script: Script) -> None:
    async with asked(ScriptedServer(script)) as tier:
        recorder, (question,) = await recorded([tier], Opining("small", tier))

    assert recorder.failed == recorder.refused == 0
    opinion = (question.outputs["small"].opinions or {})["p-true"]
    assert opinion.value is None


async def test_a_server_without_room_is_asked_again_and_one_that_fails_leaves_the_question() -> None:
    left = [503, 503, 429]

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if is_question(body) and left:
            return web.json_response({"error": {"message": "not now"}}, status=left.pop())
        return await ScriptedServer(Script("yes")).answer(request, body)

    async with asked(ScriptedServer(Script(handler=handler))) as tier:
        _, kept = await recorded([tier], Opining("small", tier))
        left.extend([500] * 99)
        recorder, lost = await recorded([tier], Opining("small", tier))

    assert len(kept) == 1
    assert (recorder.failed, lost) == (1, [])


async def test_drafts_that_were_recorded_before_can_be_asked_about() -> None:
    before = b"""{"id": "1", "prompt": "is it?", "outputs": {"old": {"model": "m", "text": "no, never"}}}"""
    server = ScriptedServer(Script("yes", p_true=0.3))

    async with asked(server) as tier:
        _, (question,) = await recorded([tier], Opining("old", tier), question_of(before, ""))
        with pytest.raises(CannotRecord, match="question '1' has no answer of 'gone' to ask about"):
            await recorded([tier], Opining("gone", tier), question_of(before, ""))

    assert p_true_in(question.outputs["old"]) == pytest.approx(0.3)
    assert [*question.outputs] == ["old", "small"]
    assert any(body["messages"][1:2] == [{"role": "assistant", "content": "no, never"}] for body in server.seen)


def test_a_file_without_it_is_not_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text('{"id": "1", "prompt": "is it?", "outputs": {"small": {"model": "m", "text": "yes"}}}\n')

    with keeper(file, ["small"]):
        pass
    with pytest.raises(BadRecord, match="has no P\\(True\\) of 'small': to add it"), keeper(file, ["small"], "small"):
        pass
