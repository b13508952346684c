"""Marks for recorded answers: by references, by the final tier, by commands and by judges; and files of them."""

import asyncio
import gzip
import json
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from fakes.scripted import Script, ScriptedServer
from fakes.waiting import until

from models.endpoint import Endpoint, Limits
from models.replica import Replica
from models.session import Session
from models.wire import Json
from router.graders import UnknownGrader
from router.lab.asking import Patience
from router.lab.commanding import ByCommand, command_of
from router.lab.graded_file import grade_file
from router.lab.grading import CannotGrade, Examiners, Mark
from router.lab.judging import ByJudge, OrderBias, verdict_in
from router.lab.outcomes import Recorded, read_outcomes

QUICK = Patience(first_pause_s=0.001, longest_pause_s=0.002)


def question(gold: Json = None, prompt: str = "?", grader: str | None = None, **texts: str | None) -> Recorded:
    """What the tiers said to it."""
    outputs = {name: {"model": "m"} | ({} if text is None else {"text": text}) for name, text in texts.items()}
    return Recorded.model_validate({"id": prompt, "prompt": prompt, "gold": gold, "grader": grader, "outputs": outputs})


def correct(graded: Recorded) -> dict[str, bool | None]:
    """By tier."""
    return {name: output.correct for name, output in graded.outputs.items()}


async def test_answers_are_marked_by_the_questions_own_reference() -> None:
    graded = await Examiners("numeric").grade(question("18", small="It is 17.", large="So $18.00"))

    assert correct(graded) == {"small": False, "large": True}
    assert {name: output.answer for name, output in graded.outputs.items()} == {"small": "17", "large": "18"}
    assert graded.graded_by == "numeric"


async def test_a_question_without_a_reference_is_told_nothing_of() -> None:
    graded = await Examiners("numeric").grade(question(small="17", large="18"))

    assert correct(graded) == {"small": None, "large": None}


async def test_a_question_may_name_its_own_grader() -> None:
    graded = await Examiners("numeric").grade(question("C", grader="choice", small="(C)", large="The answer is D."))

    assert correct(graded) == {"small": True, "large": False}
    assert graded.graded_by == "choice"


async def test_a_question_that_nobody_says_how_to_grade_stays_as_it_is() -> None:
    one = question("18", small="18", large="18")

    assert await Examiners(None).grade(one) is one


@pytest.mark.parametrize(
    ("grader", "small", "large", "marks"),
    [
        ("agreement:numeric", "18", "It is $18.00", (True, True)),
        ("agreement:numeric", "17", "It is 18", (False, True)),
        ("agreement:numeric", "no idea", "It is 18", (False, True)),
        ("agreement:numeric", "17", "no idea", (None, None)),
        ("agreement", " yes", "yes", (True, True)),
        ("agreement", "", "", (None, None)),
        ("agreement", "yes", None, (None, None)),
    ],
)
async def test_agreement_takes_the_final_tier_for_right(
    grader: str, small: str, large: str | None, marks: tuple[bool | None, bool | None]
) -> None:
    graded = await Examiners(grader).grade(question("999", small=small, large=large))

    assert (graded.outputs["small"].correct, graded.outputs["large"].correct) == marks


async def test_agreement_among_three_needs_the_final_ones_name() -> None:
    one = question(small="a", large="b", helper="b")

    with pytest.raises(CannotGrade, match=r"say with --final .* \(it has: small, large, helper\)"):
        await Examiners("agreement").grade(one)
    graded = await Examiners("agreement", final="large").grade(one)

    assert correct(graded) == {"small": False, "large": True, "helper": True}
    assert graded.graded_by == "agreement with large"


async def test_an_answer_that_is_all_that_was_recorded_is_graded_and_stays() -> None:
    one = Recorded.model_validate(
        {"id": "1", "gold": False, "outputs": {"small": {"model": "m", "answer": False, "correct": False},
                                              "large": {"model": "m", "correct": True}}}
    )  # fmt: skip

    graded = await Examiners("exact").grade(one)

    assert correct(graded) == {"small": True, "large": True}
    assert graded.outputs["small"].answer is False


@pytest.mark.parametrize("name", ["vibes", "regex:(", "agreement:vibes"])
def test_an_unknown_grader_is_told_before_anything_is_graded(name: str) -> None:
    with pytest.raises(UnknownGrader):
        Examiners(name)
    with pytest.raises(UnknownGrader):
        Examiners(None).check(name)


def program(folder: Path, lines: str) -> str:
    """A command that runs these lines of Python."""
    file = folder / "check me.py"
    file.write_text("import os, sys\n" + lines)
    return f"'{sys.executable}' '{file}'"


async def test_a_command_reads_the_answer_and_knows_the_question(tmp_path: Path) -> None:
    line = program(tmp_path, "sys.exit(0 if sys.stdin.read() == os.environ['GOLD'] + os.environ['PROMPT'] else 3)")
    examiners = Examiners(f"command:{line}", special={"command": lambda told: command_of(told, os.environ, 30)})

    graded = await examiners.grade(question({"a": 1}, "what?", small='{"a": 1}what?', large="ünrelated\n"))

    assert correct(graded) == {"small": True, "large": False}
    assert graded.graded_by == f"command:{line}"


async def test_a_command_that_does_not_end_is_wrong(tmp_path: Path) -> None:
    line = program(tmp_path, "import time; time.sleep(3600)")

    assert await command_of(line, os.environ, 0.01).examine(question("x", small="x")) == {"small": Mark(None, False)}


async def test_a_command_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    line = program(
        tmp_path,
        "import subprocess, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}\\n')\n"
        "time.sleep(3600)\n",
    )

    grading = asyncio.create_task(command_of(line, os.environ, 3600).examine(question("x", small="x")))
    await until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    grading.cancel()
    await asyncio.wait([grading])

    for pid in pids.read_text().split():
        await until(lambda pid=pid: is_gone(pid))


def is_gone(pid: str) -> bool:
    """Whether a process has ended; who began it may not have asked about it yet."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("line", "mistake"),
    [("", "say which one"), ("'open", "no closing quotation"), ("/no/such/program x", "there is no such program")],
)
def test_a_command_that_cannot_run_is_told_at_once(line: str, mistake: str) -> None:
    with pytest.raises(CannotGrade, match=mistake):
        command_of(line, os.environ, 1)


async def test_a_question_too_long_for_a_command_is_told_nothing_of() -> None:
    command = ByCommand(("true",), os.environ, 30)

    assert await command.examine(question("x" * 200_000, small="x")) == {"small": Mark(None, None)}
    assert await command.examine(question("a\0b", "\0", small="\0")) == {"small": Mark(None, True)}


@pytest.mark.parametrize("name", ["command:true", "judge:m@http://127.0.0.1:1", "command"])
async def test_a_file_cannot_name_what_runs_commands_or_asks_servers(name: str) -> None:
    examiners = Examiners("exact", special={"command": lambda told: command_of(told, os.environ, 1),
                                            "judge": lambda told: command_of(told, os.environ, 1)})  # fmt: skip

    with pytest.raises(CannotGrade, match="only --grader may name one of that kind"):
        await examiners.grade(question("x", grader=name, small="x"))
    with pytest.raises(CannotGrade, match="only --grader may name one of that kind"):
        examiners.check(name)


async def judged(
    verdict: Callable[[str, str], str], *questions: Recorded, seen: list[str] | None = None
) -> tuple[list[Recorded], OrderBias, int]:
    """What a judge who says this of A and B makes of the questions; and how often it was asked."""

    async def handler(request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["messages"][0]["content"]
        (seen if seen is not None else []).append(asked)
        a, b = (between(asked, f"<answer_{name}>\n", f"\n</answer_{name}>") for name in "ab")
        return await ScriptedServer(Script(verdict(a, b))).answer(request, await request.json())

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ScriptedServer(Script(handler=handler)))
        session = await stack.enter_async_context(Session())
        replica = Replica(Endpoint(server.url, "scripted", dialect="openai"), session=session, limits=Limits())
        judge = ByJudge(replica, patience=QUICK)
        examiners = Examiners("judge:x", special={"judge": lambda _: judge})
        return [await examiners.grade(one) for one in questions], judge.bias, len(server.seen)


def between(text: str, before: str, after: str) -> str:
    """What stands between the two."""
    return text.partition(before)[2].partition(after)[0]


def honest(a: str, b: str) -> str:
    """Good is what says so."""
    word = {(True, True): "both", (True, False): "A", (False, True): "B", (False, False): "neither"}
    return f"Hm. Verdict: A? No.\n**Verdict:** {word['good' in a, 'good' in b]}"


async def test_a_judge_is_asked_in_both_orders() -> None:
    graded, bias, asked = await judged(
        honest, question(small="good", large="bad"), question(small="bad", large="good"),
        question(small="good 1", large="good 2"), question(small="bad 1", large="bad 2"),
    )  # fmt: skip

    assert [(one["small"], one["large"]) for one in map(correct, graded)] == [
        (True, False), (False, True), (True, True), (False, False)
    ]  # fmt: skip
    assert asked == 8
    assert bias == OrderBias(pairs=4, changed=0, first=2, second=2, unreadable=0)


async def test_a_judge_is_shown_the_whole_conversation_and_the_reference() -> None:
    seen: list[str] = []
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"type": "text", "text": "Hm?"}]}]
    one = question("yes {sic}", small="good {x}", large="good")

    await judged(honest, one.model_copy(update={"request": {"messages": turns}}), seen=seen)
    await judged(honest, one, seen=seen)

    assert "<question>\nsystem: Be kind.\n\nuser: Hm?\n</question>" in seen[0]
    assert "<reference_answer>\nyes {sic}\n</reference_answer>" in seen[0]
    assert "<question>\n?\n</question>" in seen[2]
    with pytest.raises(CannotGrade, match="has no text that a judge could be shown"):
        await judged(honest, one.model_copy(update={"prompt": None}))


async def test_a_mark_that_changes_with_the_order_is_none_and_the_bias_is_told() -> None:
    graded, bias, _ = await judged(lambda *_: "Verdict: A", question(small="one", large="two"))

    assert correct(graded[0]) == {"small": None, "large": None}
    assert bias == OrderBias(pairs=1, changed=1, first=2, second=0, unreadable=0)


async def test_a_mark_that_both_orders_share_stands() -> None:
    graded, bias, _ = await judged(
        lambda a, _: "Verdict: both" if a == "one" else "Verdict: A", question(small="one", large="two")
    )

    assert correct(graded[0]) == {"small": None, "large": True}
    assert (bias.pairs, bias.changed) == (1, 1)


async def test_answers_that_are_alike_are_judged_once_and_alike() -> None:
    graded, _, asked = await judged(honest, question(small="good", large="good"))
    torn, _, _ = await judged(lambda *_: "Verdict: A", question(small="good", large="good"))

    assert (correct(graded[0]), asked) == ({"small": True, "large": True}, 1)
    assert correct(torn[0]) == {"small": None, "large": None}


async def test_a_judge_that_says_nothing_readable_tells_nothing() -> None:
    graded, bias, _ = await judged(lambda *_: "I cannot say.", question(small="one", large="two"))

    assert correct(graded[0]) == {"small": None, "large": None}
    assert bias == OrderBias(pairs=1, unreadable=2)


async def test_a_judge_that_fails_ends_the_grading() -> None:
    async with ScriptedServer(Script(status=401)) as server, Session() as session:
        replica = Replica(Endpoint(server.url, "scripted"), session=session, limits=Limits())

        with pytest.raises(CannotGrade, match="the judge: the server answered 401"):
            await ByJudge(replica, patience=QUICK).examine(question(small="a", large="b"))


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Verdict: A", (True, False)),
        ("verdict: b.", (False, True)),
        ("**Verdict: both**", (True, True)),
        ("Verdict:\n\n`neither`", (False, False)),
        ("Verdict: A ... Verdict: B", (False, True)),
        ("[[A]]", (True, False)),
        ("Both.", (True, True)),
        ("Verdict: Apples", None),
        ("A is better than B", None),
        ("", None),
    ],
)
def test_a_verdict_is_read(text: str, verdict: tuple[bool, bool] | None) -> None:
    assert verdict_in(text) == verdict


def written(file: Path, count: int) -> Path:
    """A recorded file, with fields that nobody here knows."""
    lines = [
        json.dumps({"id": str(place), "prompt": None, "gold": place, "difficulty": [place],
                    "outputs": {"small": {"model": "m", "text": str(place % 3), "note": "kept", "correct": True},
                                "large": {"model": "m", "text": str(place)}}})
        for place in range(count)
    ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return file


@pytest.mark.parametrize(
    ("source", "target"), [("a.jsonl", "a.jsonl"), ("a.jsonl", "b.jsonl"), ("a.jsonl.gz", "a.jsonl.gz")]
)
async def test_a_file_is_graded_in_order_and_keeps_all_else(tmp_path: Path, source: str, target: str) -> None:
    tally = await grade_file(written(tmp_path / source, 9), tmp_path / target, Examiners("numeric"), at_once=4)

    graded = list(read_outcomes(tmp_path / target))
    assert [one.id for one in graded] == list(map(str, range(9)))
    assert [one.outputs["small"].correct for one in graded] == [place < 3 for place in range(9)]
    assert all(one.outputs["large"].correct for one in graded)
    assert graded[4].model_dump()["difficulty"] == [4]
    assert graded[4].outputs["small"].model_dump()["note"] == "kept"
    assert (tally.questions, tally.tiers["small"].right, tally.tiers["small"].wrong) == (9, 3, 6)
    assert names_in(tmp_path) == {source, target}


def names_in(folder: Path) -> set[str]:
    """Of its files."""
    return {file.name for file in folder.iterdir()}


class Stopping:
    """An examiner that is stopped after so many questions, and counts those that it saw."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.seen: list[str] = []

    async def examine(self, question: Recorded) -> dict[str, Mark]:
        """Right, until it is stopped."""
        self.seen.append(question.id)
        if len(self.seen) > self.after:
            raise CannotGrade("stopped")
        return dict.fromkeys(question.outputs, Mark("graded", True))


async def test_grading_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    file, first, second = written(tmp_path / "a.jsonl", 9), Stopping(5), Stopping(99)
    before = file.read_bytes()
    with pytest.raises(CannotGrade):
        await grade_file(file, file, Examiners("slow:x", special={"slow": lambda _: first}), at_once=1)
    assert file.read_bytes() == before
    part = tmp_path / "a.jsonl.part"
    part.write_bytes(part.read_bytes() + b'{"id": "5", "outp')

    tally = await grade_file(file, file, Examiners("slow:x", special={"slow": lambda _: second}), at_once=1)

    assert second.seen == ["5", "6", "7", "8"]
    assert (tally.questions, tally.tiers["small"].right) == (9, 9)
    assert [one.graded_by for one in read_outcomes(file)] == ["slow:x"] * 9
    assert not part.exists()


@pytest.mark.parametrize("change", ["grader", "answers"])
async def test_grading_that_was_stopped_begins_anew_where_something_changed(tmp_path: Path, change: str) -> None:
    file, first, second = written(tmp_path / "a.jsonl", 9), Stopping(5), Stopping(99)
    with pytest.raises(CannotGrade):
        await grade_file(file, file, Examiners("slow:x", special={"slow": lambda _: first}), at_once=1)
    if change == "answers":
        file.write_text(file.read_text().replace('"text": "0"', '"text": "changed"', 1))
    name = "slow:y" if change == "grader" else "slow:x"

    await grade_file(file, file, Examiners(name, special={"slow": lambda _: second}), at_once=3)

    assert sorted(second.seen) == list(map(str, range(9)))


async def test_an_empty_file_is_graded_to_an_empty_one(tmp_path: Path) -> None:
    tally = await grade_file(written(tmp_path / "a.jsonl", 0), tmp_path / "b.jsonl", Examiners("exact"), at_once=2)

    assert (tally.questions, tally.tiers) == (0, {})
    assert list(read_outcomes(tmp_path / "b.jsonl")) == []
