"""`smallfirst gate`: recording answers and fitting a gate, as an operator does it."""

import json
from pathlib import Path

import pytest
from cli.test_commands import run
from fakes.scripted import Script

CONFIG = """
tiers:
  small: {{model: scripted, price: {{input: 1, output: 2}}, urls: [{url}]}}
  large: {{model: other, price: {{input: 10, output: 20}}, urls: [{url}]}}
cascades:
  auto: {{tiers: [small, large], scorer: mean-logprob, threshold: 0.8{stream}}}
"""


def written(folder: Path, url: str = "http://127.0.0.1:1", stream: str = "") -> Path:
    """A configuration."""
    file = folder / "pair.yaml"
    file.write_text(CONFIG.format(url=url, stream=stream))
    return file


def reply(*ps: float) -> dict[str, object]:
    """A recorded answer whose tokens have these probabilities."""
    tokens = [{"token": "ab ", "logprob": -(1 - p)} for p in ps]
    message = {"role": "assistant", "content": "ab " * len(ps)}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": tokens}}]}


def recorded(folder: Path, count: int = 200) -> Path:
    """Answers of which every other one gets worse, and every fourth recovers."""
    file = folder / "answers.jsonl"
    lines = []
    for place in range(count):
        ps = [0.95 - 0.1 * (place % 2)] * 4 + [0.95 if place % 4 < 2 else 0.5] * 8
        request = {"messages": [{"role": "user", "content": str(place)}]}
        lines.append(json.dumps({"request": request, "reply": reply(*ps)}))
    file.write_text("\n".join(lines) + "\n")
    return file


async def test_answers_are_recorded_once_and_a_second_run_goes_on(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script("yes it is"), large=Script())
    prompts, answers = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    prompts.write_text('{"prompt": "one?"}\n\n{"messages": [{"role": "user", "content": "two?"}], "temperature": 0}\n')

    first = await run("gate", "record", str(prompts), str(answers), "--url", cascade.url)
    prompts.write_text(prompts.read_text() + '{"prompt": "three?"}\n')
    second = await run("gate", "record", str(prompts), str(answers), "--url", cascade.url)

    assert (first[0], second[0]) == (0, 0)
    assert len(cascade.small.seen) == 3
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert sorted(line["request"]["messages"][0]["content"] for line in lines) == ["one?", "three?", "two?"]
    assert all(line["reply"]["choices"][0]["logprobs"]["content"] for line in lines)


async def test_a_fitted_gate_is_taken_by_the_configuration_that_it_was_fitted_for(tmp_path: Path) -> None:
    config, out = written(tmp_path), tmp_path / "gate.json"

    code, table, _ = await run("gate", "fit", str(config), str(recorded(tmp_path)), str(out), "--sizes", "4,8,64")

    assert code == 0
    assert "fitted on 200 answers of scripted, by mean-logprob at 0.8" in table
    assert sorted(json.loads(out.read_text())["curves"]) == ["4", "8"]
    written(tmp_path, stream=", stream: {on_doubt: continue, gate: gate.json, gate_tokens: 8}")
    code, plan, error = await run("check", str(config))
    assert (code, error) == (0, "")
    assert (
        "streams open after 8 tokens if P(accepted) >= 0.5, behind a holdback of 16, and in doubt large goes on" in plan
    )


@pytest.mark.parametrize(
    ("stream", "environment", "mistake"),
    [
        ("{on_doubt: continue}", {}, "cascades.auto.stream: a gate is needed to judge a draft by its first tokens"),
        ("{stop_at: 0}", {}, "cascades.auto.stream: a gate is needed"),
        ("{on_doubt: continue, gate: gone.json}", {}, "cascades.auto.stream.gate: gone.json: No such file"),
        ("{on_doubt: continue, gate: pair.yaml}", {}, "cascades.auto.stream.gate: no gate that `smallfirst gate fit`"),
        ("{on_doubt: continue, gate: gate.json, gate_tokens: 5}", {}, "was fitted for other numbers of tokens: 4, 8"),
        ("{on_doubt: continue, gate: gate.json, gate_tokens: 4}", {"SMALLFIRST_CASCADES__AUTO__THRESHOLD": "0.7"},
         "it was fitted for scripted by mean-logprob at 0.8, the cascade has scripted by mean-logprob at 0.7"),
        ("{on_doubt: continue, gate: gate.json, gate_tokens: 4}", {"SMALLFIRST_TIERS__LARGE__DIALECT": "openai"},
         "tier 'large' is not known to go on after another model's words"),
        ("{gate: gate.json, gate_tokens: 4}", {"SMALLFIRST_TIERS__SMALL__MODEL": "newer"}, "the cascade has newer by"),
    ],
)  # fmt: skip
async def test_a_gate_that_does_not_fit_is_refused(
    tmp_path: Path, stream: str, environment: dict[str, str], mistake: str
) -> None:
    await run("gate", "fit", str(written(tmp_path)), str(recorded(tmp_path)), str(tmp_path / "gate.json"))
    await run(
        "gate", "fit", str(written(tmp_path)), str(recorded(tmp_path)), str(tmp_path / "gate.json"), "--sizes", "4,8"
    )

    code, _, error = await run("check", str(written(tmp_path, stream=f", stream: {stream}")), **environment)

    assert code == 2
    assert mistake in error


@pytest.mark.parametrize(
    ("arguments", "code", "mistake"),
    [
        (("record", "gone.jsonl", "a.jsonl"), 2, "No such file"),
        (("record", "bad.jsonl", "a.jsonl"), 2, "bad.jsonl, line 1: no JSON"),
        (("record", "odd.jsonl", "a.jsonl"), 2, 'neither "messages" nor a "prompt" alone'),
        (("record", "good.jsonl", "a.jsonl", "--url", "http://127.0.0.1:1"), 2, "nobody answers at http://127.0.0.1:1"),
        (("fit", "pair.yaml", "gone.jsonl", "g.json"), 2, "No such file"),
        (("fit", "pair.yaml", "odd.jsonl", "g.json"), 2, "line 1: no recorded answer"),
        (("fit", "pair.yaml", "few.jsonl", "g.json"), 1, "1 answers with evidence are too few"),
        (("fit", "pair.yaml", "few.jsonl", "g.json", "--sizes", "a,b"), 2, "numbers with commas"),
        (("fit", "pair.yaml", "few.jsonl", "g.json", "--cascade", "otto"), 2, "there are: auto"),
    ],
)
async def test_what_cannot_be_done_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, mistake: str
) -> None:
    written(tmp_path)
    for name, text in {"bad": "{", "odd": '{"text": 1}', "good": '{"prompt": "?"}',
                       "few": json.dumps({"request": {}, "reply": reply(0.9, 0.9)})}.items():  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text(text + "\n")
    paths = [str(tmp_path / part) if "." in part and "//" not in part else part for part in arguments]

    done, _, error = await run("gate", *paths, COLUMNS="200")

    assert done == code
    assert mistake in error
    assert "Traceback" not in error


async def test_a_server_that_refuses_ends_the_recording_with_its_words(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script(), large=Script())
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "one?"}\n')

    code, _, error = await run(
        "gate", "record", str(prompts), str(tmp_path / "a.jsonl"), "--url", cascade.url, "--model", "otto"
    )

    assert code == 2
    assert "answered 404" in error
