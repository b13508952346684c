"""Recording, by servers that do what real ones do: answer, refuse, have no room, and die."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from fakes.scripted import Script, ScriptedServer

from models.endpoint import Endpoint, Limits
from models.replica import Replica
from models.session import Session
from router.lab.asking import Patience
from router.lab.keeping import keeper
from router.lab.outcomes import BadRecord, Recorded, read_outcomes
from router.lab.questions import BadPrompts, Question, only, question_of, read_questions, survey
from router.lab.recording import Asked, CannotRecord, Recorder
from router.money import Price

QUICK = Patience(first_pause_s=0.001, longest_pause_s=0.002)
WITHIN_S = 30


def questions(count: int, first: int = 0) -> list[Question]:
    """As many, all different."""
    return [question_of(json.dumps({"prompt": f"question {place}"}).encode(), "") for place in range(first, count)]


@asynccontextmanager
async def asked(**servers: ScriptedServer) -> AsyncIterator[list[Asked]]:
    """Running servers as tiers."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(Session())
        tiers = []
        for name, server in servers.items():
            if not server.url:
                await stack.enter_async_context(server)
            replica = Replica(Endpoint(server.url, "scripted"), session=session, limits=Limits())
            tiers.append(Asked(name, "scripted", replica, Price(1, 2)))
        yield tiers


async def recorded(out: Path, asking: list[Question], tiers: list[Asked], at_once: int = 4) -> Recorder:
    """Record what the file lacks, as the command does."""
    with keeper(out, [tier.name for tier in tiers]) as file:

        async def keep(question: Recorded) -> None:
            file.keep(question)

        recorder = Recorder(tiers, keep, at_once=at_once, patience=QUICK)
        async with asyncio.timeout(WITHIN_S):
            await recorder.run(only(asking, file.missing(survey(asking))))
    return recorder


def ids(out: Path) -> list[str]:
    """Of the recorded questions, sorted."""
    return sorted(question.id for question in read_outcomes(out))


def failing(*statuses: int):
    """A server that answers so first, and then as its script says."""
    left = list(statuses)

    async def handler(request: web.Request) -> web.StreamResponse:
        if left:
            return web.json_response({"error": {"message": "not now"}}, status=left.pop(0))
        return await ScriptedServer(Script("yes")).answer(request, await request.json())

    return handler


async def test_a_line_has_what_each_tier_said_and_what_it_took(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "is it?"}]
    known = {"id": 7, "task": "t", "gold": ["yes", None], "grader": "json"}
    line = json.dumps({**known, "messages": messages, "max_tokens": 9, "model": "x", "stream": True}).encode()

    async with asked(small=ScriptedServer(Script("yes it is")), large=ScriptedServer(Script("no"))) as tiers:
        await recorded(out, [question_of(line, "")], tiers)

    (question,) = read_outcomes(out)
    small, large = question.outputs["small"], question.outputs["large"]
    assert (question.id, question.task, question.prompt) == ("7", "t", "is it?")
    assert (question.gold, question.grader, question.graded_by) == (["yes", None], "json", None)
    assert question.request == {"messages": messages, "max_tokens": 9}
    assert [*question.outputs] == ["small", "large"]
    assert (small.model, small.text, small.fingerprint) == ("scripted", "yes it is", None)
    assert (small.prompt_tokens, small.completion_tokens, small.cost) == (10, 3, pytest.approx(16e-6))
    assert (large.text, large.completion_tokens) == ("no", 1)
    assert small.seconds is not None
    assert 0 < small.seconds < WITHIN_S
    draft = small.draft()
    assert draft is not None
    assert [token.text for token in draft.choices[0].tokens] == ["yes", " it", " is"]
    assert len(draft.choices[0].tokens.alternatives[0]) == 5


async def test_what_is_recorded_is_not_asked_again(tmp_path: Path) -> None:
    out, small, large = tmp_path / "out.jsonl", ScriptedServer(Script()), ScriptedServer(Script())

    async with asked(small=small, large=large) as tiers:
        await recorded(out, questions(3), tiers)
        await recorded(out, [*questions(5), *questions(5)], tiers)

    assert (len(small.seen), len(large.seen)) == (5, 5)
    assert len(ids(out)) == len(set(ids(out))) == 5


async def test_a_server_that_dies_ends_the_run_and_another_run_completes_the_file(tmp_path: Path) -> None:
    out, dying = tmp_path / "out.jsonl", ScriptedServer(Script())

    async def handler(request: web.Request) -> web.StreamResponse:
        if len(dying.seen) > 10:
            assert request.transport is not None
            request.transport.abort()
        return await dying.answer(request, await request.json())

    dying.script = Script(handler=handler)
    async with asked(small=ScriptedServer(Script()), large=dying) as tiers:
        with pytest.raises(CannotRecord, match="tier 'large': 20 questions in a row got no answer"):
            await recorded(out, questions(60), tiers)
    kept = ids(out)
    assert 0 < len(kept) <= 10

    async with asked(small=ScriptedServer(Script()), large=ScriptedServer(Script())) as tiers:
        await recorded(out, questions(60), tiers)
    assert len(ids(out)) == len(set(ids(out))) == 60
    assert set(kept) <= set(ids(out))


async def test_a_server_that_has_no_room_is_asked_again(tmp_path: Path) -> None:
    out, busy = tmp_path / "out.jsonl", ScriptedServer(Script(handler=failing(*[429] * 4, *[503] * 4)))

    async with asked(small=busy) as tiers:
        recorder = await recorded(out, questions(1), tiers)

    assert (recorder.failed, len(ids(out)), len(busy.seen)) == (0, 1, 9)


async def test_a_question_without_an_answer_is_left_for_the_next_run(tmp_path: Path) -> None:
    out, sick = tmp_path / "out.jsonl", ScriptedServer(Script(handler=failing(*[500] * 4)))

    async with asked(small=sick) as tiers:
        first = await recorded(out, questions(2), tiers, at_once=1)
        second = await recorded(out, questions(2), tiers, at_once=1)

    assert (first.failed, first.failure, second.failed) == (1, "the server answered 500", 0)
    assert len(ids(out)) == 2


async def test_a_question_that_is_refused_is_left_out_and_its_other_calls_are_stopped(tmp_path: Path) -> None:
    out, slow, picky = tmp_path / "out.jsonl", ScriptedServer(Script()), ScriptedServer(Script())
    hanging = asyncio.Event()

    async def hangs(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["messages"][0]["content"] == "question 3":
            hanging.set()
            await asyncio.sleep(3600)
        return await slow.answer(request, body)

    async def refuses(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["messages"][0]["content"] == "question 3":
            await hanging.wait()
            return web.json_response({"error": {"message": "too long by 7"}}, status=400)
        return await picky.answer(request, body)

    slow.script, picky.script = Script(handler=hangs), Script(handler=refuses)
    async with asked(small=picky, large=slow) as tiers:
        recorder = await recorded(out, questions(40), tiers, at_once=2)

    assert (recorder.refused, recorder.refusal, recorder.failed) == (1, "too long by 7", 0)
    assert len(ids(out)) == 39
    assert slow.left == 1


async def test_a_server_that_refuses_everything_ends_the_run_with_its_words(tmp_path: Path) -> None:
    refusing = ScriptedServer(Script(status=400, error={"error": {"message": "logprobs are off"}}))

    async with asked(small=refusing) as tiers:
        with pytest.raises(CannotRecord, match="20 questions in a row got no answer, the last one: logprobs are off"):
            await recorded(tmp_path / "out.jsonl", questions(100), tiers)

    assert len(refusing.seen) < 40


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_server_that_does_not_know_us_ends_the_run_at_once(tmp_path: Path, status: int) -> None:
    server = ScriptedServer(Script(status=status))

    async with asked(small=server) as tiers:
        with pytest.raises(CannotRecord, match=f"answered {status}: see to its address, model and key"):
            await recorded(tmp_path / "out.jsonl", questions(100), tiers, at_once=1)

    assert len(server.seen) <= 2


async def test_few_questions_are_under_way_at_a_time(tmp_path: Path) -> None:
    small, large, drawn, most = ScriptedServer(Script()), ScriptedServer(Script()), 0, [0, 0]

    def watching(server: ScriptedServer, place: int):
        three = asyncio.Barrier(3)

        async def handler(request: web.Request) -> web.StreamResponse:
            await three.wait()
            most[place] = max(most[place], server.running)
            answered = sum(1 for _ in read_outcomes(out)) if out.exists() else 0
            assert drawn - answered <= 7
            return await server.answer(request, await request.json())

        return handler

    def drawing() -> Iterator[Question]:
        nonlocal drawn
        for question in questions(39):
            drawn += 1
            yield question

    out = tmp_path / "out.jsonl"
    small.script, large.script = Script(handler=watching(small, 0)), Script(handler=watching(large, 1))
    async with asked(small=small, large=large) as tiers:
        with keeper(out, ["small", "large"]) as file:

            async def keep(question: Recorded) -> None:
                file.keep(question)

            async with asyncio.timeout(WITHIN_S):
                await Recorder(tiers, keep, at_once=3, patience=QUICK).run(drawing())

    assert len(ids(out)) == 39
    assert most == [3, 3]


async def test_what_keeping_raises_ends_the_run() -> None:
    async def full(_: Recorded) -> None:
        raise OSError(28, "No space left on device")

    async with asked(small=ScriptedServer(Script())) as tiers:
        with pytest.raises(OSError, match="No space left"):
            await Recorder(tiers, full, at_once=2, patience=QUICK).run(questions(9))


async def test_answers_without_evidence_are_counted(tmp_path: Path) -> None:
    async with asked(small=ScriptedServer(Script(logprobs=False)), large=ScriptedServer(Script())) as tiers:
        recorder = await recorded(tmp_path / "out.jsonl", questions(3), tiers)

    assert recorder.unsure == {"small": 3}


async def test_a_line_that_was_cut_off_is_mended(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    async with asked(small=ScriptedServer(Script())) as tiers:
        await recorded(out, questions(4), tiers)
        whole = out.read_bytes()
        for lost in (1, 2, 30, len(whole) - 3):
            out.write_bytes(whole[:-lost])
            await recorded(out, questions(4), tiers)

            assert len(ids(out)) == 4
            assert out.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b'{"prompt": "mine"}', "line 1: no recorded question"),
        (b'{"prompt": "mine"}\n{"prom', "line 1: no recorded question"),
        (b"some notes", "holds no recorded questions"),
        (b'{"id": "1", "outputs": {"small": {"model": "m"}}}\n', "no answer of 'large': to add a tier"),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: bytes, mistake: str) -> None:
    out = tmp_path / "notes.jsonl"
    out.write_bytes(content)

    with pytest.raises(BadRecord, match=mistake), keeper(out, ["small", "large"]):
        pass

    assert out.read_bytes() == content


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    with keeper(tmp_path / "out.jsonl", []), pytest.raises(BadRecord, match="another run is writing"):  # noqa: SIM117
        with keeper(tmp_path / "out.jsonl", []):
            pass


def test_a_file_that_is_gzipped_is_not_added_to(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="gzip it when it is complete"), keeper(tmp_path / "out.jsonl.gz", []):
        pass


async def test_an_id_that_another_question_had_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    out, server = tmp_path / "out.jsonl", ScriptedServer(Script())
    first, second = (question_of(json.dumps({"id": "a", "prompt": text}).encode(), "") for text in ("one", "two"))
    async with asked(small=server) as tiers:
        await recorded(out, [first], tiers)

        with pytest.raises(BadPrompts, match="'a' was recorded with another request"):
            await recorded(out, [*questions(3), second], tiers)
        with pytest.raises(BadPrompts, match="two different questions have the id 'a'"):
            await recorded(tmp_path / "other.jsonl", [first, second], tiers)

    assert len(server.seen) == 1


async def test_a_recorded_file_gets_another_tier_and_keeps_what_it_had(tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    async with asked(small=ScriptedServer(Script("a")), large=ScriptedServer(Script("b"))) as tiers:
        await recorded(first, questions(3), tiers)
    async with asked(helper=ScriptedServer(Script("c"))) as tiers:
        await recorded(second, list(read_questions(first)), tiers)

    assert [{name: output.text for name, output in question.outputs.items()} for question in read_outcomes(second)] == [
        {"small": "a", "large": "b", "helper": "c"}
    ] * 3


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        (b"{", "no JSON"),
        (b"[1]", "no JSON object"),
        (b'{"text": 1}', 'neither "messages" nor the text of a "prompt"'),
        (b'{"prompt": ""}', 'neither "messages"'),
        (b'{"prompt": null, "id": "1"}', 'neither "messages"'),
        (b'{"prompt": "x", "max_tokens": 3}', 'max_tokens: fields of a request go with "messages"'),
        (b'{"messages": []}', "messages: a list of objects is wanted"),
        (b'{"messages": ["x"]}', "messages: a list of objects is wanted"),
        (b'{"prompt": "x", "id": 1.5}', "id: a text or a number"),
        (b'{"prompt": "x", "id": true}', "id: a text or a number"),
        (b'{"prompt": "x", "id": ""}', "id: a text or a number"),
        (b'{"prompt": "x", "task": 3}', "task: a text is wanted"),
        (b'{"prompt": "x", "grader": ["exact"]}', "grader: a text is wanted"),
        (b'{"id": "1", "prompt": null, "outputs": {}}', 'neither "messages"'),
        (b'{"id": "", "prompt": "x", "outputs": {}}', "id: an empty one"),
        (b'{"id": "1", "outputs": {"small": 3}}', "no recorded question: outputs.small"),
        (b'\xff{"prompt": "x"}', "no JSON"),
    ],
)
def test_what_is_no_prompt_is_told_with_its_place(tmp_path: Path, line: bytes, mistake: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(b'\n{"prompt": "good"}\n' + line + b"\n")

    with pytest.raises(BadPrompts) as told:
        survey(read_questions(file))

    assert mistake in str(told.value)
    assert str(told.value).startswith(f"{file}, line 3")


def test_a_request_to_the_gateway_is_a_prompt_as_it_stands() -> None:
    question = question_of(
        b'{"model": "auto", "messages": [{"role": "user", "content": [{"type": "text", "text": "hm?"}]}],'
        b' "smallfirst": {"task": "triage"}, "stream": true, "temperature": 0.5}', "",
    )  # fmt: skip

    assert (question.task, question.prompt) == ("triage", "hm?")
    assert "smallfirst" not in question.request
    assert question.at_temperature(0.0).request["temperature"] == 0.5


def test_questions_have_an_id_of_their_own_whatever_the_order_of_their_fields() -> None:
    one = question_of(b'{"messages": [{"role": "user", "content": "x"}], "seed": 1}', "")
    other = question_of(b'{"seed": 1, "messages": [{"content": "x", "role": "user"}]}', "")

    assert one.id == other.id == one.at_temperature(0.3).id
    assert one.id != question_of(b'{"prompt": "x"}', "").id
    assert question_of(b'{"prompt": "x", "id": 12}', "").id == "12"


async def test_a_call_of_a_tool_is_what_the_tier_said(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"x":1}'}}
    out = tmp_path / "out.jsonl"

    async with asked(small=ScriptedServer(Script(tool_calls=[call]))) as tiers:
        await recorded(out, questions(1), tiers)

    assert [question.outputs["small"].text for question in read_outcomes(out)] == [
        '{"arguments": {"x": 1}, "name": "find"}'
    ]
