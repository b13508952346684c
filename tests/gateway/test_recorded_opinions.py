"""From recording to serving, with everything that a scorer can read: the confidence is the lab's own."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import openai
import pytest
import yaml
from aiohttp import web
from cli.test_commands import run
from fakes.gateway import running_gateway
from fakes.pools import probed
from fakes.scripted import Script, ScriptedServer, is_question, lettered

from router.graders import grader_of
from router.lab.candidates import judging_candidate
from router.lab.examples import Confirming, Helper, examples_of
from router.lab.judged import confidences
from router.lab.outcomes import read_outcomes
from router.lab.selection import Roles
from router.trust import Trust, trust_of
from server.building import policy_of
from server.settings.reading import read_settings
from server.settings.schema import Settings

QUESTIONS = 110
CHECKED = 12


def asked(place: int) -> str:
    """A question."""
    return f"What is {place} and {place} more?\nA. {2 * place}\nB. {2 * place + 1.5}"


def draft(place: int) -> tuple[Script, bool]:
    """What the small one says to it, and whether that is right: the surer it is of itself, the likelier."""
    random = Random(place)
    sure, right = random.uniform(0.3, 1.0), random.random()
    value = 2 * place if right < sure else 2 * place + 1
    text = f"{place} + {place} = {value}. The answer is {value}" if sure > 0.5 else f"It might be {value}, maybe"
    return Script(text, p=0.6 + 0.39 * sure, p_true=round(min(0.99, sure + random.uniform(-0.2, 0.1)), 3)), right < sure


def place_in(body: Mapping[str, list[dict[str, str]]]) -> int:
    """Which question this is about."""
    return int(body["messages"][0]["content"].split()[2])


async def small(request: web.Request) -> web.StreamResponse:
    """Its answers, and what it says of them."""
    body = await request.json()
    script, _ = draft(place_in(body))
    if is_question(body):
        return web.json_response(lettered(script.p_true or 0.0, body))
    return await ScriptedServer(script).answer(request, body)


async def helper(request: web.Request) -> web.StreamResponse:
    """Mostly right."""
    body = await request.json()
    place = place_in(body)
    return await ScriptedServer(Script(f"{2 * place + (place % 7 == 0)}")).answer(request, body)


async def large(request: web.Request) -> web.StreamResponse:
    """Always right."""
    body = await request.json()
    return await ScriptedServer(Script(f"It is {2 * place_in(body)}")).answer(request, body)


@asynccontextmanager
async def configured(folder: Path) -> AsyncIterator[Path]:
    """Three servers, and a configuration of them that has no artefact yet."""
    async with AsyncExitStack() as stack:
        tiers = {}
        for name, handler in {"small": small, "large": large, "helper": helper}.items():
            server = await stack.enter_async_context(ScriptedServer(Script(handler=handler)))
            tiers[name] = {"model": "scripted", "price": {"input": 1, "output": 2}, "urls": [server.url]}
        opinions = {"p-true": {}, "agreement": {"tier": "helper", "grader": "numeric"}}
        cascade = {"tiers": ["small", "large"], "opinions": opinions, "trust": "trust.json"}
        config = folder / "pair.yaml"
        config.write_text(yaml.safe_dump({"tiers": tiers, "cascades": {"auto": cascade}}))
        yield config


def settings_of(config: Path) -> Settings:
    """As the gateway reads it."""
    return read_settings(config, {})


def prompts(file: Path) -> str:
    """All questions, in a file."""
    lines = ({"id": f"q{place}", "prompt": asked(place), "gold": 2 * place} for place in range(QUESTIONS))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def without_artefact(config: Path) -> Settings:
    """The same servers, before there is one."""
    plain = yaml.safe_load(config.read_text())
    plain["cascades"]["auto"] = {"tiers": ["small", "large"], "threshold": 0.5}
    return Settings.model_validate(plain)


async def recorded(config: Path, *, through_gateway: bool) -> Path:
    """What all of them say, in a file."""
    out = config.parent / "recorded.jsonl"
    command = ("record", prompts(config.parent / "prompts.jsonl"), str(out), "--tiers", "small,helper,large",
               "--p-true", "small", "--grader", "numeric")  # fmt: skip
    if not through_gateway:
        code, _, error = await run(*command, "--config", str(config))
    else:
        async with running_gateway(without_artefact(config)) as url:
            await probed(url)
            code, _, error = await run(*command, "--url", url)
    assert (code, error) == (0, "")
    return out


@pytest.mark.parametrize("through_gateway", [False, True], ids=["at its servers", "through a gateway"])
async def test_what_is_recorded_and_tuned_is_what_is_served(tmp_path: Path, *, through_gateway: bool) -> None:
    artefact = tmp_path / "trust.json"
    async with configured(tmp_path) as config:
        file = await recorded(config, through_gateway=through_gateway)
        features = ("--features", "tokens,text,p-true,agreement")
        code, said, error = await run(
            "tune", str(config), str(file), str(artefact), *features, "--quality", "0.98", COLUMNS="300"
        )
        assert (code, error) == (0, "")
        assert "text features: final answers found by numeric" in said
        trust = trust_of(artefact.read_bytes())
        served = await confidences_of(settings_of(config))

    assert {name: one.told for name, one in trust.opinions.items()} == {
        "p-true": "scripted", "agreement": "scripted, compared by numeric"}  # fmt: skip
    questions = list(read_outcomes(file))
    in_the_lab = lab_confidences(file, trust)
    of_questions = {one.id: confidence for one, confidence in zip(questions, in_the_lab, strict=True)}
    assert served == pytest.approx([of_questions[f"q{place}"] for place in range(CHECKED)], abs=1e-6)
    assert len(set(served)) > CHECKED // 2
    costs = [(one.outputs["small"].opinions or {})["p-true"].cost for one in questions]
    assert costs == pytest.approx([22e-6] * QUESTIONS), "by price, or as the gateway says"
    assert judging_candidate(questions, Roles("small", "large", "helper"), trust).confidence.tolist() == in_the_lab


async def confidences_of(settings: Settings) -> list[float]:
    """What the headers say of some of the questions."""
    found = []
    async with running_gateway(settings) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        for place in range(CHECKED):
            raw = await client.chat.completions.with_raw_response.create(
                model="auto", messages=[{"role": "user", "content": asked(place)}]
            )
            found.append(float(raw.headers["x-smallfirst-confidence"]))
    return found


def lab_confidences(file: Path, trust: Trust) -> list[float]:
    """What `tune` saw of all of them."""
    numeric = grader_of("numeric")
    tier = {"model": "scripted", "price": {"input": 1, "output": 2}, "urls": ["http://127.0.0.1:1"]}
    cascade = {"tiers": ["small", "large"], "threshold": 0.5}
    settings = Settings.model_validate({"tiers": {"small": tier, "large": tier}, "cascades": {"auto": cascade}})
    examples = examples_of(
        read_outcomes(file), ("small", "large"), policy_of(settings.cascades["auto"]), numeric,
        [Confirming(), Helper("helper", numeric)],
    )  # fmt: skip
    found: list[float] = confidences([example.evidence for example in examples], trust.fit.judging).tolist()
    return found
