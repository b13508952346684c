"""`smallfirst prompts`: from the decision log to what `smallfirst record` asks."""

import asyncio
import json
from pathlib import Path

import pytest
from cli.test_commands import run
from fakes.stores import decision
from store.test_reading import REQUEST, filled

from router.lab.questions import question_of
from server.store.records import Feedback, Texts, new_id


def texts(question: str, answer: str = "yes") -> Texts:
    """A request whose text was kept."""
    request = {**REQUEST, "stream": True, "messages": [{"role": "user", "content": question}]}
    return Texts(request, answer, {})


async def test_requests_become_prompts_and_feedback_their_right_answers(tmp_path: Path) -> None:
    right, wrong, mended, silent = (decision(time=float(at), texts=texts(f"q{at}"), task="sums") for at in range(4))
    await asyncio.to_thread(
        filled, tmp_path, right, wrong, mended, silent,
        Feedback(new_id(), right.id, 5.0, label="right"),
        Feedback(new_id(), wrong.id, 5.0, label="wrong"),
        Feedback(new_id(), mended.id, 5.0, score=0.0, correction="no"),
    )  # fmt: skip

    code, said, error = await run("prompts", str(tmp_path))

    assert (code, error) == (0, "")
    lines = [json.loads(line) for line in said.splitlines()]
    assert [(line["id"], line.get("gold"), line["task"]) for line in lines] == [
        (right.id, "yes", "sums"), (wrong.id, None, "sums"), (mended.id, "no", "sums"), (silent.id, None, "sums")
    ]  # fmt: skip
    assert question_of(said.splitlines()[0].encode(), "here").request == {
        "messages": [{"role": "user", "content": "q0"}]
    }
    assert len((await run("prompts", str(tmp_path), "--judged-only"))[1].splitlines()) == 3


async def test_a_sample_is_drawn_and_the_same_one_again(tmp_path: Path) -> None:
    await asyncio.to_thread(filled, tmp_path, *(decision(time=float(at), texts=texts(f"q{at}")) for at in range(50)))

    first, again, other = [
        (await run("prompts", str(tmp_path), "--sample", "10", "--seed", seed))[1] for seed in ("1", "1", "2")
    ]

    assert first == again != other
    assert len(set(first.splitlines())) == 10


@pytest.mark.parametrize("arguments", [(), ("--cascade", "otto")])
async def test_a_log_without_texts_says_how_to_keep_them(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    await asyncio.to_thread(filled, tmp_path, decision(), decision(texts=Texts({"prompt": "no chat"}, "yes", {})))

    code, said, error = await run("prompts", str(tmp_path), *arguments)

    assert (code, said) == (1, "")
    assert "`store.texts` is on" in error


async def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    code, _, error = await run("prompts", str(tmp_path / "gone"))

    assert code == 1
    assert "the store cannot be read" in error
