"""All cases, and running them one after another."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import aiohttp

from server.conformance.areas import (
    disconnects,
    errors,
    mixing,
    other_apis,
    parameters,
    replies,
    stream_format,
    tool_calls,
    truncation,
    usage,
)
from server.conformance.case import Case, Result, Verdict
from server.conformance.gateway import OK
from server.conformance.plays import LARGE, SMALL, UNSURE, words
from server.conformance.stage import Stage
from server.conformance.wrong import NotServed, Wrong

CASES: tuple[Case, ...] = (
    *parameters.CASES, *replies.CASES, *tool_calls.CASES, *stream_format.CASES, *mixing.CASES, *truncation.CASES,
    *disconnects.CASES, *usage.CASES, *errors.CASES, *other_apis.CASES,
)  # fmt: skip
AREAS = tuple(dict.fromkeys(case.area for case in CASES))
CASE_S = 30.0
RECOVERY_S = 10.0
RECOVERY_PAUSE_S = 0.1


async def run(stage: Stage, areas: Sequence[str] = AREAS) -> AsyncGenerator[Result]:
    """The result of each case of these areas."""
    for case in CASES:
        if case.area in areas:
            yield await result_of(case, replace(stage, case=f"{case.area}/{case.name}"))


async def result_of(case: Case, stage: Stage) -> Result:
    """What comes of a case."""
    missing = lacks(case, stage)
    if missing:
        return Result(case.area, case.name, "not run", missing)
    verdict, seen = await outcome_of(case, stage)
    return Result(case.area, case.name, verdict, seen)


def lacks(case: Case, stage: Stage) -> str:
    """What a case needs that is not there."""
    if case.needs != "nothing" and stage.upstream is None:
        return "needs the scripted model behind the gateway"
    return "needs a cascade" if case.needs == "cascade" and not stage.escalates else ""


async def outcome_of(case: Case, stage: Stage) -> tuple[Verdict, str]:
    """Run a case, when the gateway has got over what the last one did to its model."""
    if stage.upstream is not None and stage.upstream.has_failed:
        await recovered(stage)
        stage.upstream.has_failed = False
    try:
        async with asyncio.timeout(CASE_S):
            return "pass", await case.run(stage)
    except NotServed as absent:
        return "not served", str(absent)
    except Wrong as wrong:
        return "FAIL", str(wrong)
    except TimeoutError:
        return "FAIL", f"no end within {CASE_S:g} s"
    except aiohttp.ClientError as broken:
        return "FAIL", f"the connection broke: {type(broken).__name__}"


async def recovered(stage: Stage) -> bool:
    """Whether the gateway answers, with every model that it has: it may leave one alone for a while after failures."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + RECOVERY_S
    while not await answers(stage):
        if loop.time() > until_s:
            return False
        await asyncio.sleep(RECOVERY_PAUSE_S)
    return True


async def answers(stage: Stage) -> bool:
    """Whether a request is answered; of a cascade, one that both models must be asked for."""
    if stage.upstream is None or not stage.escalates:
        return (await stage.ask_plainly()).status == OK
    with stage.plays(words("hm", UNSURE), large=words("hello")) as play:
        answer = await stage.ask(play)
    return answer.status == OK and bool(play.asked(SMALL) and play.asked(LARGE))
