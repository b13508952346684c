"""The README's main job: `smallfirst up`, the official client, and two real models."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import openai
import pytest
from fakes.pools import probed

from models.demo.curriculum import distinct
from models.demo.grading import is_right
from models.demo.question import Split
from models.launcher.program import free_ports

SMALLFIRST = Path(sys.executable).with_name("smallfirst")
EASY = "What is 7 times 8?"
START_S = 120


class Running:
    """`smallfirst up` as a process of its own, and a client of its gateway."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)

    async def ask(self, prompt: str, model: str = "auto"):
        """The raw reply to one question."""
        return await self.client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": prompt}], temperature=0
        )

    def pid_of(self, name: str) -> int:
        """The process that serves a tier: the newest one that the log tells of."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["pid"] for line in lines if line.get("program") == name and "pid" in line][-1]


@pytest.fixture(scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The demo, as the README's first command starts it."""
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("demo") / "up.log"
    environment = {**os.environ, "SMALLFIRST_SERVER__PORT": str(port)}
    with log.open("wb") as file:
        process = subprocess.Popen([SMALLFIRST, "up"], env=environment, stderr=file)  # noqa: ASYNC220, S603 - our own script
    running = Running(process, f"http://127.0.0.1:{port}", log)
    try:
        await all_up(running)
        yield running
    finally:
        await running.client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


async def all_up(running: Running) -> None:
    """Wait until every tier answers."""
    async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
        while True:
            assert running.process.poll() is None, running.log.read_text()
            try:
                async with session.get(f"{running.url}/ready") as reply:
                    if set((await reply.json())["tiers"].values()) == {"up"}:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def hard_question(demo: Running) -> str:
    """A held-out question on which the small model is not sure."""
    for question in distinct(Split.HELD_OUT, 60):
        raw = await demo.ask(question.prompt)
        if raw.headers["x-smallfirst-escalated"] == "true":
            return question.prompt
    raise AssertionError("the small model was sure of everything")


async def test_an_easy_question_is_answered_by_the_small_model(demo: Running) -> None:
    raw = await demo.ask(EASY)

    assert raw.parse().choices[0].message.content == "7 times 8 is 56."
    assert raw.headers["x-smallfirst-tier"] == "small"
    assert raw.headers["x-smallfirst-reason"] == "sure"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hard_question_is_answered_by_the_large_model(demo: Running, stream: bool) -> None:
    prompt = await hard_question(demo)

    raw = await demo.client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": prompt}], temperature=0, stream=stream
    )
    alone = (await demo.ask(prompt, "large")).parse().choices[0].message.content

    assert raw.headers["x-smallfirst-tier"] == "large"
    if stream:
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])
    else:
        said = raw.parse().choices[0].message.content
    assert said == alone


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("threshold", "tier"), [(0.0, "small"), (1.0, "large")])
async def test_a_text_is_completed_as_the_engine_alone_does(
    demo: Running, threshold: float, tier: str, stream: bool
) -> None:
    text = {"prompt": "The number seven times eight is", "max_tokens": 12, "temperature": 0}
    (engine,) = [replica for pool in await probed(demo.url) if pool["tier"] == tier for replica in pool["replicas"]]
    alone = openai.AsyncOpenAI(base_url=f"{engine['url']}/v1", api_key="none", max_retries=0)

    raw = await demo.client.completions.with_raw_response.create(
        model="auto", **text, stream=stream, extra_body={"smallfirst": {"threshold": threshold}}
    )
    parts = [part async for part in raw.parse()] if stream else [raw.parse()]
    async with alone:
        own = await alone.completions.create(model=engine["model"], **text)

    assert raw.headers["x-smallfirst-tier"] == tier
    assert own.choices[0].text
    assert "".join(choice.text for part in parts for choice in part.choices) == own.choices[0].text


async def test_the_tokens_of_a_text_are_the_first_engines(demo: Running) -> None:
    body = {"model": "auto", "prompt": EASY}
    async with aiohttp.ClientSession() as session, session.post(f"{demo.url}/tokenize", json=body) as reply:
        counted = await reply.json()

    assert counted["count"] == len(counted["tokens"]) > 0


async def test_the_cascade_is_nearly_as_good_as_the_large_model(demo: Running) -> None:
    questions = distinct(Split.HELD_OUT, 200)
    free = asyncio.Semaphore(8)

    async def one(question, model: str) -> tuple[bool, bool]:
        async with free:
            raw = await demo.ask(question.prompt, model)
        right = is_right(question, raw.parse().choices[0].message.content)
        return right, raw.headers["x-smallfirst-escalated"] == "true"

    large = await asyncio.gather(*(one(question, "large") for question in questions))
    cascade = await asyncio.gather(*(one(question, "auto") for question in questions))

    assert sum(right for right, _ in cascade) >= 0.95 * sum(right for right, _ in large)
    assert sum(escalated for _, escalated in cascade) <= 0.5 * len(questions)


@pytest.mark.parametrize("tier", ["small", "large"])
async def test_an_engine_killed_in_mid_answer_is_survived_and_comes_back(demo: Running, tier: str) -> None:
    prompt = await hard_question(demo)
    before = demo.pid_of(tier)
    asking = [asyncio.create_task(demo.ask(prompt)) for _ in range(12)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)

    os.kill(before, signal.SIGKILL)

    async with asyncio.timeout(60):
        ended = await asyncio.gather(*asking, return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException):
            assert isinstance(one, openai.APIStatusError), one
            assert (one.status_code, one.code) == (503, "model_unreachable")
            assert tier == "large", "what the small model cannot answer, the large one does"
    await back_again(demo, tier, before)
    assert (await demo.ask(prompt)).parse().choices[0].message.content


async def test_a_live_stream_survives_the_death_of_its_drafter(demo: Running) -> None:
    question = max(distinct(Split.HELD_OUT, 300), key=lambda one: len(one.answer))

    async with asyncio.timeout(3 * START_S):
        tier = "small"
        while tier == "small":  # where the draft was whole before its first words were read here
            text, decision = await drafter_killed(demo, question.prompt)
            assert is_right(question, text)
            tier = decision["tier"]

    assert (tier, decision["escalated"]) == ("large", True)
    assert decision["reason"] in ("unreachable", "bad-reply", "unsure")


async def drafter_killed(demo: Running, prompt: str) -> tuple[str, dict]:
    """What a stream says and tells whose drafter is killed when its first words are here; it is back by then."""
    before = demo.pid_of("small")
    stream = await demo.client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": prompt}], temperature=0, stream=True
    )
    text, decision = "", None
    async for chunk in stream:
        if not text and chunk.choices[0].delta.content:
            os.kill(before, signal.SIGKILL)
        text += chunk.choices[0].delta.content or ""
        decision = chunk.model_extra.get("smallfirst", decision)
    await back_again(demo, "small", before)
    assert decision is not None
    return text, decision


async def back_again(demo: Running, tier: str, before: int) -> None:
    """Wait until a killed engine was started anew, and answers."""
    async with asyncio.timeout(START_S):
        while demo.pid_of(tier) == before or not await answers(demo, tier):  # noqa: ASYNC110 - processes have no event
            await asyncio.sleep(0.1)


async def answers(demo: Running, tier: str) -> bool:
    """Whether the tier answers by itself."""
    try:
        await demo.ask(EASY, tier)
    except openai.APIStatusError:
        return False
    return True
