"""`smallfirst gate`: fitting a gate to recorded answers, as an operator does it."""

import json
from pathlib import Path

import pytest
from cli.test_commands import run

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


def answered(question: str, said: dict[str, object]) -> dict[str, object]:
    """A recorded question."""
    request = {"messages": [{"role": "user", "content": question}]}
    return {"id": question, "request": request, "outputs": {"small": {"model": "scripted", "reply": said}}}


def recorded(folder: Path, count: int = 200) -> Path:
    """Answers of which every other one gets worse, and every fourth recovers."""
    file = folder / "answers.jsonl"
    lines = []
    for place in range(count):
        ps = [0.95 - 0.1 * (place % 2)] * 4 + [0.95 if place % 4 < 2 else 0.5] * 8
        lines.append(json.dumps(answered(str(place), reply(*ps))))
    file.write_text("\n".join(lines) + "\n")
    return file


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
        (("fit", "pair.yaml", "gone.jsonl", "g.json"), 2, "No such file"),
        (("fit", "pair.yaml", "odd.jsonl", "g.json"), 2, "line 1: no recorded question"),
        (("fit", "pair.yaml", "sick.jsonl", "g.json"), 2, "a recorded reply is no chat completion"),
        (("fit", "pair.yaml", "few.jsonl", "g.json"), 1, "1 answers of 'small' with evidence are too few"),
        (("fit", "pair.yaml", "others.jsonl", "g.json"), 1, "0 answers of 'small' with evidence are too few"),
        (("fit", "pair.yaml", "few.jsonl", "g.json", "--sizes", "a,b"), 2, "numbers with commas"),
        (("fit", "pair.yaml", "few.jsonl", "g.json", "--cascade", "otto"), 2, "there are: auto"),
    ],
)
async def test_what_cannot_be_done_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, mistake: str
) -> None:
    written(tmp_path)
    others = {"id": "1", "outputs": {"large": {"model": "other", "reply": reply(0.9)}, "small": {"model": "scripted"}}}
    for name, line in {"odd": {"text": 1}, "few": answered("?", reply(0.9, 0.9)), "sick": answered("?", {"choices": 3}),
                       "others": others}.items():  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    paths = [str(tmp_path / part) if "." in part and "//" not in part else part for part in arguments]

    done, _, error = await run("gate", *paths, COLUMNS="200")

    assert done == code
    assert mistake in error
    assert "Traceback" not in error
