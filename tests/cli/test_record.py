"""`smallfirst record` and `grade`, as an operator runs them."""

import asyncio
import json
import signal
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from cli.test_commands import SMALLFIRST, run
from fakes.pools import probed
from fakes.scripted import Script, ScriptedServer
from fakes.waiting import until

from models.launcher.program import free_ports

CONFIG = """
tiers:
  small: {{model: scripted, price: {{input: 1, output: 2}}, urls: [{small}]}}
  large: {{model: other, price: {{input: 10, output: 20}}, urls: [{large}], api_key: sk-secret}}
  spare: {{model: spare, price: {{input: 0, output: 0}}, engine: {{kind: vllm}}}}
cascades:
  auto: {{tiers: [small, large], scorer: mean-logprob, threshold: 0.8}}
"""


def prompts(folder: Path, *lines: dict[str, object]) -> str:
    """A file of them."""
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def lines_of(file: Path) -> list[dict[str, dict[str, dict[str, object]]]]:
    """What is recorded."""
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_gateways_tiers_are_recorded_and_graded_in_one_go(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script("it is 17"), large=Script("it is 18"))
    out = tmp_path / "out.jsonl"
    file = prompts(
        tmp_path, {"prompt": "one?", "gold": "18"}, {"prompt": "two?", "gold": "it is 17", "grader": "exact"}
    )

    known = (await probed(cascade.url))[0]["replicas"][0]["fingerprint"]
    first = await run("record", file, str(out), "--url", cascade.url, "--grader", "numeric", COLUMNS="200")
    second = await run("record", file, str(out), "--url", f"{cascade.url}/v1/", "--temperature", "0")
    third = await run("record", file, str(out), "--url", cascade.url)

    assert (first[0], first[2]) == (0, "")
    assert f"2 questions recorded in {out}" in first[1]
    assert [line.split()[:5] for line in first[1].splitlines()[1:3]] == [
        ["small", "2", "50.0%", "50.0%", "0.0%"], ["large", "2", "50.0%", "50.0%", "0.0%"]
    ]  # fmt: skip
    assert second[0] == 2
    assert "was recorded with another request" in second[2]
    assert (third[0], third[1]) == (0, f"0 questions recorded in {out} (2 were recorded before)\n")
    assert (len(cascade.small.seen), len(cascade.large.seen)) == (2, 2)
    for line in lines_of(out):
        small, large = line["outputs"]["small"], line["outputs"]["large"]
        assert (small["model"], small["text"], small["fingerprint"]) == ("scripted", "it is 17", known)
        assert (small["cost"], large["cost"]) == (pytest.approx(16e-6), pytest.approx(160e-6))
        assert small["reply"]["choices"][0]["logprobs"]["content"][2]["top_logprobs"]


async def test_the_servers_of_a_configuration_are_asked_with_its_keys_and_prices(tmp_path: Path) -> None:
    keys = []

    async def handler(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers.get("authorization"))
        return await ScriptedServer(Script("no")).answer(request, await request.json())

    async with ScriptedServer(Script("yes")) as small, ScriptedServer(Script(handler=handler, served="other")) as large:
        config = tmp_path / "pair.yaml"
        config.write_text(CONFIG.format(small=small.url, large=large.url))
        file = prompts(tmp_path, {"messages": [{"role": "user", "content": "is it?"}], "temperature": 1})
        out = tmp_path / "out.jsonl"

        code, _, err = await run("record", file, str(out), "--config", str(config), "--temperature", "0")

    assert (code, err) == (0, "")
    (line,) = lines_of(out)
    assert {name: (output["model"], output["cost"]) for name, output in line["outputs"].items()} == {
        "small": ("scripted", 12e-6), "large": ("other", 120e-6)
    }  # fmt: skip
    assert keys == ["Bearer sk-secret"]
    assert [body["temperature"] for body in small.seen] == [1]
    assert "sk-secret" not in out.read_text()


async def test_a_recording_that_is_interrupted_says_how_to_go_on(tmp_path: Path) -> None:
    server = ScriptedServer(Script())
    full, turns = asyncio.Event(), count(1)

    async def handler(request: web.Request) -> web.StreamResponse:
        if next(turns) > 3:
            full.set()
            await asyncio.sleep(3600)
        return await server.answer(request, await request.json())

    server.script = Script(handler=handler)
    file = prompts(tmp_path, *({"prompt": str(place)} for place in range(9)))
    out, config = tmp_path / "out.jsonl", tmp_path / "pair.yaml"
    async with server:
        config.write_text(CONFIG.format(small=server.url, large=server.url))
        command = ("record", file, str(out), "--config", str(config), "--tiers", "small")
        process = await asyncio.create_subprocess_exec(SMALLFIRST, *command, stderr=asyncio.subprocess.PIPE)
        async with asyncio.timeout(60):
            await full.wait()
            await until(lambda: len(lines_of(out)) == 3)
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
        server.script = Script()

        again = await run(*command)

    assert process.returncode == 130
    assert err.decode() == f"error: stopped: {out} keeps what was answered, and the same command goes on\n"
    assert again[0] == 0
    assert "6 questions recorded" in again[1]
    assert len({line["id"] for line in lines_of(out)}) == 9


async def test_what_is_refused_and_what_fails_is_counted(tmp_path: Path) -> None:
    server = ScriptedServer(Script())

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["messages"][0]["content"] == "long":
            return web.json_response({"error": {"message": "too long by 7"}}, status=400)
        return await server.answer(request, body)

    server.script = Script(handler=handler, logprobs=False)
    config = tmp_path / "pair.yaml"
    async with server:
        config.write_text(CONFIG.format(small=server.url, large=server.url))
        file = prompts(tmp_path, {"prompt": "short"}, {"prompt": "long"})

        code, out, err = await run(
            "record", file, str(tmp_path / "out.jsonl"), "--config", str(config), "--tiers", "small"
        )

    assert code == 1
    assert "1 questions recorded" in out
    assert "error: 1 questions were refused, the first one because: too long by 7" in err
    assert "error: 1 answers of 'small' came without log-probabilities" in err


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (("gone.jsonl", "out.jsonl"), "No such file"),
        (("bad.jsonl", "out.jsonl"), "bad.jsonl, line 1: no JSON"),
        (("good.jsonl", "good.jsonl"), "good.jsonl, line 1: no recorded question"),
        (("good.jsonl", "out.jsonl", "--url", "http://127.0.0.1:1"), "no gateway answers at http://127.0.0.1:1"),
        (("good.jsonl", "out.jsonl", "--cascade", "otto"), "there is no cascade 'otto' (there are: auto)"),
        (("good.jsonl", "out.jsonl", "--tiers", "small,otto"), "there is no tier 'otto' (there are: small, large)"),
        (("good.jsonl", "out.jsonl", "--p-true", "otto"), "there is no tier 'otto' (there are: small, large)"),
        (("good.jsonl", "out.jsonl", "--config", "pair.yaml", "--p-true", "spare"), "tier 'spare' has no urls"),
        (("good.jsonl", "out.jsonl", "--grader", "vibes"), "there is no grader 'vibes'"),
        (("good.jsonl", "out.jsonl", "--grader", "judge:m"), "judge: say which model, and where"),
        (("/dev/stdin", "out.jsonl"), "prompts are read twice"),
        (("odd.jsonl", "out.jsonl"), "only --grader may name one of that kind"),
        (("good.jsonl", "out.jsonl", "--config", "gone.yaml"), "gone.yaml: No such file"),
        (("good.jsonl", "out.jsonl", "--config", "pair.yaml"), "tier 'small': nobody answers at http://127.0.0.1:1"),
        (("good.jsonl", "out.jsonl", "--config", "pair.yaml", "--tiers", "spare"), "tier 'spare' has no urls"),
    ],
)
async def test_what_cannot_be_recorded_is_told_in_one_line_and_leaves_no_file(
    gateway, tmp_path: Path, arguments: tuple[str, ...], mistake: str
) -> None:
    cascade = await gateway(small=Script(), large=Script())
    for name, text in {
        "bad": "{",
        "good": '{"prompt": "?"}',
        "odd": '{"prompt": "?", "grader": "command:true"}',
    }.items():
        (tmp_path / f"{name}.jsonl").write_text(text + "\n")
    (tmp_path / "pair.yaml").write_text(CONFIG.format(small="http://127.0.0.1:1", large="http://127.0.0.1:1"))
    paths = [str(tmp_path / part) if part.endswith((".jsonl", ".yaml")) else part for part in arguments]
    url = () if "--url" in arguments or "--config" in arguments else ("--url", cascade.url)

    code, _, err = await run("record", *paths, *url, COLUMNS="200")

    assert code == 2
    assert mistake in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()
    assert not cascade.small.seen


async def test_drafts_that_a_model_did_not_tell_of_are_counted(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script("17", when_asked=400), large=Script("18"))
    out = tmp_path / "out.jsonl"
    command = ("record", prompts(tmp_path, {"prompt": "?"}), str(out), "--url", cascade.url, "--p-true", "small")

    code, _, err = await run(*command)
    again = await run(*command)

    assert (code, err) == (0, "error: of 1 drafts 'small' did not say whether they are right\n")
    assert again == (0, f"0 questions recorded in {out} (1 were recorded before)\n", "")
    (line,) = lines_of(out)
    assert line["outputs"]["small"]["opinions"]["p-true"]["model"] == "scripted"
    assert "opinions" not in line["outputs"]["large"]


async def test_the_demos_questions_can_be_recorded(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script("7"), large=Script("8"))
    first = await run("demo", "questions", "--count", "5")
    again = await run("demo", "questions", "--count", "5")
    others = await run("demo", "questions", "--count", "5", "--split", "held-out", "--seed", "x")

    assert first == again
    assert not {json.loads(line)["id"] for line in first[1].splitlines()} & {
        json.loads(line)["id"] for line in others[1].splitlines()
    }
    (tmp_path / "prompts.jsonl").write_text(first[1])
    code, out, _ = await run("record", str(tmp_path / "prompts.jsonl"), str(tmp_path / "o.jsonl"), "--url", cascade.url)
    assert code == 0
    assert "5 questions recorded" in out
    assert {line["graded_by"] for line in lines_of(tmp_path / "o.jsonl")} == {"exact"}


PLUG_IN = """
class Shouting:
    def answer_of(self, text):
        return text.upper()

    def grade(self, text, reference):
        return text.upper() == reference.upper()
"""


async def test_a_file_is_graded_by_what_an_installed_package_offers(tmp_path: Path) -> None:
    installed = tmp_path / "site" / "shouting-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[smallfirst.graders]\nloud = shouting:Shouting\n")
    (installed.parent / "shouting.py").write_text(PLUG_IN)
    path = f"{installed.parent}:{Path.cwd()}"
    file = recorded(tmp_path)

    code, out, err = await run("grade", str(file), "--grader", "loud", PYTHONPATH=path, COLUMNS="200")

    assert (code, err) == (0, "")
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [["small", "2", "50.0%"], ["large", "2", "100.0%"]]
    assert [line["outputs"]["small"]["correct"] for line in lines_of(file)] == [True, False]


def recorded(folder: Path) -> Path:
    """A file of two questions."""
    file = folder / "recorded.jsonl"
    said = [("yes", "YES"), ("no", "Yes")]
    file.write_text("".join(
        json.dumps({"id": str(place), "prompt": "is it?", "gold": "yes", "outputs": {
            "small": {"model": "m", "text": small}, "large": {"model": "m", "text": large}}}) + "\n"
        for place, (small, large) in enumerate(said)
    ))  # fmt: skip
    return file


async def test_a_judge_is_a_model_at_a_server(tmp_path: Path) -> None:
    keys = []

    async def handler(request: web.Request) -> web.StreamResponse:
        keys.append((request.headers["authorization"], (await request.json())["model"]))
        return await ScriptedServer(Script("Verdict: A")).answer(request, await request.json())

    async with ScriptedServer(Script(handler=handler)) as server:
        code, out, _ = await run(
            "grade",
            str(recorded(tmp_path)),
            "--grader",
            f"judge:org/m@{server.url}/v1",
            JUDGE_API_KEY="k",
            COLUMNS="200",
        )

    assert code == 0
    assert keys == [("Bearer k", "org/m")] * 4
    assert "judge: 2 of 2 verdicts (100.0%) changed with the order of the answers" in out
    assert "of those for one answer alone 100.0% were for the first; 0 could not be read" in out


@pytest.mark.parametrize(
    ("arguments", "code", "mistake"),
    [
        (("gone.jsonl", "--grader", "exact"), 2, "No such file"),
        (("bad.jsonl", "--grader", "exact"), 2, "line 1: no recorded question"),
        (("recorded.jsonl", "--grader", "vibes"), 2, "there is no grader 'vibes'"),
        (("recorded.jsonl", "--grader", "command:/no/such"), 2, "there is no such program"),
        (("recorded.jsonl", "--grader", "agreement", "--final", "otto"), 2, "say with --final which tier is the final"),
        (("recorded.jsonl",), 1, "2 questions were not graded"),
    ],
)
async def test_what_cannot_be_graded_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, mistake: str
) -> None:
    before = lines_of(recorded(tmp_path))
    (tmp_path / "bad.jsonl").write_text('{"text": 1}\n')
    paths = [str(tmp_path / part) if part.endswith(".jsonl") else part for part in arguments]

    done, _, err = await run("grade", *paths, COLUMNS="200")

    assert done == code
    assert mistake in err
    assert err.count("\n") == 1
    assert lines_of(tmp_path / "recorded.jsonl") == before


async def test_a_recording_waits_for_nobody_who_is_not_there(tmp_path: Path) -> None:
    (port,) = free_ports(1)

    code, _, err = await run(
        "record", prompts(tmp_path, {"prompt": "?"}), str(tmp_path / "out.jsonl"), "--url", f"http://127.0.0.1:{port}"
    )

    assert code == 2
    assert "start one with `smallfirst up`" in err
