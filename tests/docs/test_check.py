"""`smallfirst check` on a wrong configuration: one line that says where the mistake is, and exit code 2."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from fakes.trusting import certificate, trust

from server.cli.check import plan, run_check
from server.settings.schema import Settings

RIGHT = """\
tiers:
  small: {model: s, price: {input: 0.02, output: 0.04}, urls: [http://small:8000]}
  large: {model: l, price: {input: 0.40, output: 1.20}, urls: [http://large:8000]}
cascades:
  auto: {tiers: [small, large], threshold: 0.9}
server: {host: 127.0.0.1}
"""
TIER = "model: t, price: {input: 0.1, output: 0.2}"
ENGINES = f"""\
tiers:
  small: {{{TIER}, engine: {{kind: vllm, path: small}}}}
  large: {{{TIER}, engine: {{kind: vllm, path: large, args: {{max-num-seqs: 8}}, speculation: {{method: handover}}}}}}
cascades:
  auto: {{tiers: [small, large], threshold: 0.9}}
"""
HANDOVER = "{method: handover}"
DRAFTER = "{method: drafter, tier: small}"
HETEROGENEOUS = "{method: drafter, tier: small, heterogeneous_vocabularies: true}"


def test_a_right_configuration_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_check(written(RIGHT, tmp_path), {"SMALLFIRST_TIERS__LARGE__API_KEY": "sk-secret"})

    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "small if mean-logprob confidence >= 0.9, else large" in said.out
    assert "sk-secret" not in said.out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("budget: {escalated: 0.3}", "the threshold moves so that 0.3 of the requests escalate"),
        ("budget: {spend: 0.5}", "the threshold moves so that 0.5 of what large alone would cost is spent"),
        ("budget: {load_price: 2}", "while large has no room it counts 2 times its price"),
        ("audits: {rate: 0.02, spend_per_day: 5}", "0.02 of accepted drafts are audited by exact, for 5 a day"),
        ("audits: {rate: 0.02}", "nothing is audited until both rate and spend_per_day are set"),
    ],
)
def test_the_plan_says_what_moves_the_threshold_and_what_is_audited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, said: str
) -> None:
    file = written(RIGHT.replace("threshold: 0.9", f"threshold: 0.9, {more}"), tmp_path)

    assert run_check(file, {}) == 0

    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("audits", "store", "forgets"),
    [
        ({"rate": 0.1, "spend_per_day": 1.0}, {"url": "none"}, True),
        ({"rate": 0.1, "spend_per_day": 1.0}, {"folder": "kept"}, False),
        ({}, {"url": "none"}, False),
    ],
)
def test_the_plan_says_where_an_alarm_is_forgotten(
    audits: Mapping[str, float], store: Mapping[str, str], forgets: bool
) -> None:
    tier = {"model": "scripted", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://x"]}
    judged = trust(certified=certificate(0.8, loss="disagreement"))
    auto = {"tiers": ["small", "large"], "mode": "certified", "trust": judged, "audits": audits}
    settings = Settings.model_validate({"tiers": {"small": tier, "large": tier}, "cascades": {"auto": auto},
                                        "store": store})  # fmt: skip

    said = "cascade auto: an alarm is forgotten when the gateway ends, because nothing is kept"
    assert (said in plan(settings, [], None)) == forgets


@pytest.mark.parametrize(
    ("limits", "store", "forgets"),
    [
        ({"default": {"cost_per_day": 1.0}}, {"url": "none"}, True),
        ({"default": {"cost_per_day": 1.0}}, {"folder": "kept"}, False),
        ({"default": {"cost_per_month": 1.0}, "url": "redis://h"}, {"url": "none"}, False),
        ({"default": {"requests_per_minute": 1}}, {"url": "none"}, False),
    ],
)
def test_the_plan_says_where_budgets_are_forgotten(
    limits: Mapping[str, object], store: Mapping[str, str], forgets: bool
) -> None:
    tier = {"model": "scripted", "price": {"input": 1.0, "output": 1.0}, "urls": ["http://x"]}
    settings = Settings.model_validate({"tiers": {"small": tier}, "limits": limits, "store": store})

    said = "limits: budgets begin anew when the gateway ends or is reloaded, because nothing is kept"
    assert (said in plan(settings, [], None)) == forgets


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        (
            "threshold: 0.9",
            "threshold: 0.9, budget: {escalated: 0.3, spend: 0.5}",
            "cascades.auto.budget: hold the share that is escalated or the one that is spent, not both",
        ),
        (
            "threshold: 0.9",
            "threshold: 0.9, budget: {escalated: 1}",
            "cascades.auto.budget.escalated: should be less than 1",
        ),
        (
            "threshold: 0.9",
            "threshold: 0.9, budget: {load_price: 0.5}",
            "cascades.auto.budget.load_price: should be greater than or equal to 1",
        ),
        ("threshold: 0.9", "threshold: 0.9, audits: {rate: 0}", "cascades.auto.audits.rate: should be greater than 0"),
        ("threshold: 0.9", "threshold: 0.9, audits: {grader: mood}", "cascades.auto.audits.grader: there is no"),
        ("model: s,", "model: s, modle: t,", "tiers.small.modle: unknown key"),
        ("price: {input: 0.02, output: 0.04}, ", "", "tiers.small.price: is missing"),
        ("output: 1.20", "output: -1", "tiers.large.price.output: should be greater than or equal to 0"),
        ("[small, large]", "[small, lrage]", "cascades.auto.tiers: there is no tier 'lrage'"),
        ("[small, large]", "[small, small]", "cascades.auto.tiers: a tier is listed twice"),
        ("[small, large]", "[small]", "cascades.auto.tiers: needs at least 2"),
        ("[small, large]", "small", "cascades.auto.tiers: should be a list"),
        ("{tiers: [small, large], threshold: 0.9}", "0.9", "cascades.auto: should be a mapping"),
        ("auto:", "small:", "cascades.small: there is a tier 'small' too"),
        ("auto:", "au__to:", "'au__to': a name cannot hold two of"),
        ("cascades:", f"  Large: {{{TIER}, urls: [http://t]}}\ncascades:", "'Large' and 'large' are one name"),
        ("auto:", "a.b: {tiers: [small, large], threshold: 1}\n  a-b:", "'a-b' and 'a.b' are one name"),
        ("threshold: 0.9", "threshold: 90", "cascades.auto.threshold: should be less than or equal to 1"),
        ("threshold: 0.9", "threshold: 0.9, mode: certified", "cascades.auto: mode 'certified' needs an artefact"),
        ("threshold: 0.9", "trust: gone.json", "cascades.auto.trust: gone.json: No such file"),
        ("threshold: 0.9", "stream: {stop_at: 0}, threshold: 1", "cascades.auto: stream: a gate is needed to judge"),
        (
            "threshold: 0.9",
            "threshold: 0.9, scorer: p-true",
            "cascades.auto: opinions: the scorer asks 'p-true': say who",
        ),
        (
            "threshold: 0.9",
            "threshold: 0.9, opinions: {agreement: {tier: large, grader: exact}}",
            "cascades.auto.opinions.agreement.tier: 'large' is in the cascade itself",
        ),
        ("threshold: 0.9", "threshold: 0.9, opinions: {mood: {}}", "cascades.auto.opinions.mood: "),
        ("threshold: 0.9", "threshold: 0.9, verdict: {band: [0.2, 0.8]}", "cascades.auto: verdict.band: the threshold"),
        ("threshold: 0.9", "threshold: 0.9, skip: {below: 0.2}", "cascades.auto: skip: prompts are scored by what"),
        ("host: 127.0.0.1", "host: 0.0.0.0", "server: anyone who reaches '0.0.0.0' could call the gateway"),
        (
            "http://small:8000",
            "http://small/v1",
            "tiers.small.urls: 'http://small/v1' goes on after the server's address",
        ),
        ("http://small:8000", "http://small/v1/", "tiers.small.urls: 'http://small/v1' goes on after the server's"),
        ("http://small:8000", "http://small/v1/chat", "tiers.small.urls: 'http://small/v1/chat' goes on after the"),
        ("http://small:8000", "small:8000", "tiers.small.urls: 'small:8000' is no http or https address"),
        ("http://small:8000", "http://small:0", "tiers.small.urls: 'http://small:0' is no http or https address"),
        (
            "http://small:8000",
            "http://small:65536",
            "tiers.small.urls: 'http://small:65536' is no http or https address",
        ),
        ("http://small:8000", "http://small:port", "tiers.small.urls: 'http://small:port' is no http or https address"),
        ("http://small:8000", "http://s, http://s/", "tiers.small.urls: an address is listed twice"),
        ("model: s,", "model: s, api_key: '',", "tiers.small.api_key: "),
        (", urls: [http://small:8000]", "", "tiers.small: give urls of running servers, or an engine"),
        ("urls: [http://small:8000]", "engine: {kind: llama}", "tiers.small.engine.kind: should be 'transformers' or"),
        ("urls: [http://small:8000]", "engine: vllm", "tiers.small.engine: should be a mapping"),
        (
            "urls: [http://small:8000]",
            "engine: {kind: vllm, args: {a-b: [1]}}",
            "tiers.small.engine.args.a-b: should be a text, a number, true or false, or null",
        ),
        (
            "cascades:",
            f"  a: {{{TIER}, engine: &e {{kind: vllm, port: 8001}}}}\n  b: {{{TIER}, engine: *e}}\ncascades:",
            "tiers.b.engine.port: the engine of tier 'a' has it",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, mistake: str
) -> None:
    assert right in RIGHT

    complaint = complaint_about(written(RIGHT.replace(right, wrong), tmp_path), {}, capsys)

    assert complaint.startswith(f"error: {mistake}")


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        (HANDOVER, "handover", "speculation: should be a mapping with `method`: 'handover' or 'drafter'"),
        (HANDOVER, "{method: eagle3}", "speculation: should be a mapping with `method`: 'handover' or 'drafter'"),
        (HANDOVER, "{tokens: 4}", "speculation: should be a mapping with `method`: 'handover' or 'drafter'"),
        (HANDOVER, "{method: handover, tokens: 129}", "speculation.tokens: should be less than or equal to 128"),
        (HANDOVER, "{method: handover, tokens: 0}", "speculation.tokens: should be greater than or equal to 1"),
        (HANDOVER, "{method: handover, tier: small}", "speculation.tier: unknown key"),
        (HANDOVER, "{method: drafter}", "speculation.tier: is missing"),
        (HANDOVER, "{method: drafter, tier: tiny}", "speculation.tier: there is no tier 'tiny' (tiers: small, large)"),
        (HANDOVER, "{method: drafter, tier: large}", "speculation.tier: a tier cannot draft for itself"),
        (
            HANDOVER,
            "{method: drafter, tier: small, tokens_by_batch: {2: 4}}",
            "speculation: tokens_by_batch: say how many tokens from 1 running request on",
        ),
        (
            HANDOVER,
            "{method: drafter, tier: small, tokens_by_batch: {1: 6}}",
            "speculation: tokens_by_batch: nothing in it can be more than `tokens`, which is 5",
        ),
        (
            "max-num-seqs: 8",
            "speculative-config: '{}'",
            "args.speculative-config: a server has one kind of speculation",
        ),
        ("max-num-seqs: 8", "spec_method: ngram", "args.spec-method: a server has one kind of speculation"),
        ("max-num-seqs: 8", "async-scheduling: true", "args.async-scheduling: vLLM has none with a handover"),
        (
            "max-num-seqs: 8",
            "max-num-seqs: 8, enable-lora: true, max-num-batched-tokens: 100",
            "args.max-num-batched-tokens: with adapters and 16 draft tokens a step vLLM wants 136 or more",
        ),
        (
            "kind: vllm, path: large, args: {max-num-seqs: 8}, speculation: {method: handover}",
            f"kind: transformers, speculation: {DRAFTER}",
            "speculation: an engine of kind 'transformers' holds one model",
        ),
        (
            "kind: vllm, path: large, args: {max-num-seqs: 8}, speculation: {method: handover}",
            "kind: transformers, args: {speculative-tokens: 4}",
            "args.speculative-tokens: say it as `speculation: {method: handover, tokens: …}`",
        ),
    ],
)
def test_speculation_that_cannot_be_is_one_line_that_names_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, mistake: str
) -> None:
    assert right in ENGINES

    complaint = complaint_about(written(ENGINES.replace(right, wrong), tmp_path), {}, capsys)

    assert re.match(r"error: tiers\.large\.engine(\.|: )", complaint)
    assert mistake in complaint


def test_a_drafter_with_another_vocabulary_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_files(tmp_path / "small", vocab_size=151_936)
    model_files(tmp_path / "large", text_config={"vocab_size": 152_064})

    complaint = complaint_about(written(ENGINES.replace(HANDOVER, DRAFTER), tmp_path), {}, capsys)

    assert complaint == (
        "error: tiers.large.engine.speculation: the drafter has a vocabulary of 151936 tokens, the model one of 152064,"
        " which vLLM refuses: set heterogeneous_vocabularies: true, or use method 'handover'"
    )


def test_a_drafter_that_cannot_be_split_as_the_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_files(tmp_path / "small", vocab_size=1024, num_attention_heads=14)
    file = written(ENGINES.replace(HANDOVER, DRAFTER).replace("max-num-seqs: 8", "tensor-parallel-size: 4"), tmp_path)

    complaint = complaint_about(file, {}, capsys)

    assert "split over 4 GPUs as the model is, and its 14 attention heads cannot be" in complaint


@pytest.mark.parametrize("speculation", [HANDOVER, HETEROGENEOUS])
def test_a_runner_that_cannot_do_the_speculation_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], speculation: str
) -> None:
    file = written(ENGINES.replace(HANDOVER, speculation), tmp_path)

    complaint = complaint_about(file, {"VLLM_USE_V2_MODEL_RUNNER": "1"}, capsys)

    assert complaint.startswith("error: tiers.large.engine.env: VLLM_USE_V2_MODEL_RUNNER forces the runner that cannot")


@pytest.mark.parametrize(
    ("speculation", "said"),
    [
        (
            HANDOVER,
            "starts vllm with handover, 16 draft tokens a step, max-num-seqs=8; it starts when small is healthy",
        ),
        (DRAFTER, "small, 5 draft tokens a step, max-num-seqs=8; it starts when small is healthy"),
        (
            "{method: drafter, tier: small, tokens_by_batch: {1: 5, 9: 2, 33: 0}}",
            "5 draft tokens a step (by running requests: 5 from 1 on, 2 from 9 on, 0 from 33 on), max-num-seqs=8",
        ),
    ],
)
def test_the_plan_says_what_proposes_tokens_and_what_starts_after_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], speculation: str, said: str
) -> None:
    for name in ("small", "large"):
        model_files(tmp_path / name, vocab_size=1024, num_attention_heads=4)

    assert run_check(written(ENGINES.replace(HANDOVER, speculation), tmp_path), {}) == 0

    out = capsys.readouterr().out
    assert said in out
    assert "not checked" not in out


def test_engines_on_gpus_of_their_own_do_not_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(ENGINES.replace("path: small", "env: {CUDA_VISIBLE_DEVICES: '1'}"), tmp_path)

    assert run_check(file, {"CUDA_VISIBLE_DEVICES": "0"}) == 0

    assert "healthy" not in capsys.readouterr().out


def test_a_model_whose_files_are_elsewhere_is_said_not_to_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = tmp_path / "hub" / "models--maker--large" / "snapshots" / "abc"
    model_files(snapshot, vocab_size=1024)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    file = written(ENGINES.replace(HANDOVER, DRAFTER).replace("path: large", "path: maker/large"), tmp_path)

    assert run_check(file, {"HF_HOME": str(tmp_path)}) == 0

    out = capsys.readouterr().out
    assert "whether the drafter fits is not checked, because this machine does not have small\n" in out


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (RIGHT + "cascades: {}\n", "line 7, column 1: the key 'cascades' is given twice"),
        ("tiers: [small\n", "line 2, column 1: expected ',' or ']'"),
        ("tiers: small: {}\n", "line 1, column 13: mapping values are not allowed here"),
        ("tiers: 2026-13-01\n", "a value cannot be read: month must be in 1..12"),
        ("- tiers\n", "a mapping with the key `tiers` is wanted"),
        ("", "a mapping with the key `tiers` is wanted"),
        ("\x00", "unacceptable character"),
    ],
)
def test_what_is_no_configuration_is_one_line_that_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, mistake: str
) -> None:
    file = written(text, tmp_path)

    complaint = complaint_about(file, {}, capsys)

    assert complaint.startswith(f"error: {file}: {mistake}")


def test_a_line_that_is_no_yaml_is_not_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(RIGHT.replace("model: l,", "model: l, api_key: sk-secret: x,"), tmp_path)

    complaint = complaint_about(file, {}, capsys)

    assert complaint.startswith(f"error: {file}: line 3, column ")
    assert "sk-secret" not in complaint


def test_a_key_that_no_header_can_hold_is_refused_and_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(RIGHT.replace("[http://large:8000]", '[http://large:8000], api_key: "sk-secret\\n"'), tmp_path)

    code = run_check(file, {})

    (line,) = capsys.readouterr().err.splitlines()
    assert (code, "tiers.large.api_key" in line, "line break" in line, "sk-secret" in line) == (2, True, True, False)


def test_a_tier_may_be_merged_from_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merged = RIGHT.replace("small: {", "small: &small {").replace(
        "large: {model: l, price: {input: 0.40, output: 1.20},", "large: {<<: *small, model: l,"
    )

    code = run_check(written(merged, tmp_path), {})

    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "tier large: l, 0.02 in and 0.04 out per million tokens; running at http://large:8000" in said.out


@pytest.mark.parametrize(("name", "mistake"), [("absent.yaml", "No such file"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, mistake: str
) -> None:
    complaint = complaint_about(tmp_path / name, {}, capsys)

    assert complaint.startswith(f"error: {tmp_path / name}: {mistake}")


@pytest.mark.parametrize(
    ("variable", "value", "mistake"),
    [
        ("SMALLFIRST_SERVER__PROT", "8081", "server.prot: unknown key"),
        ("SMALLFIRST_SERVER__PORT", "many", "server.port: should be a valid integer"),
        ("SMALLFIRST_SERVER__PORT", "[", "SMALLFIRST_SERVER__PORT: its value is no YAML"),
        ("SMALLFIRST_SERVER__PORT", "2026-13-01", "SMALLFIRST_SERVER__PORT: its value is no YAML"),
        ("SMALLFIRST_", "x", "SMALLFIRST_: names no key"),
        ("SMALLFIRST_SERVER__", "x", "SMALLFIRST_SERVER__: names no key"),
        ("SMALLFIRST_SERVER__HOST__NAME", "x", "SMALLFIRST_SERVER__HOST__NAME: there is no such key"),
        ("SMALLFIRST_CASCADES__AUTO__THRESHOLD", "2", "cascades.auto.threshold: should be less than"),
        ("SMALLFIRST_TIERS__LARGE__API_KEY", "123456", "tiers.large.api_key: should be a valid string"),
        ("SMALLFIRST_TIERS__LARGE__API_KEY", "''", "tiers.large.api_key: "),
        ("SMALLFIRST_TIERS__LRAGE__API_KEY", "sk", "SMALLFIRST_TIERS__LRAGE__API_KEY: there is no tier of that name"),
        (
            "SMALLFIRST_CASCADES__OTTO__THRESHOLD",
            "0.5",
            "SMALLFIRST_CASCADES__OTTO__THRESHOLD: there is no cascade of that name",
        ),
    ],
)
def test_a_wrong_override_is_one_line_that_names_the_key_or_the_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str, value: str, mistake: str
) -> None:
    complaint = complaint_about(written(RIGHT, tmp_path), {variable: value}, capsys)

    assert complaint.startswith(f"error: {mistake}")


def test_up_refuses_a_port_that_nobody_would_know(tmp_path: Path) -> None:
    file = written(RIGHT.replace("host: 127.0.0.1", "port: 0"), tmp_path)

    done = subprocess.run(  # noqa: S603 - our own program
        [Path(sys.executable).with_name("smallfirst"), "up", file],
        env={name: value for name, value in os.environ.items() if not name.startswith("SMALLFIRST_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith("error: server.port: `smallfirst up` needs a port")


def test_each_mistake_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(RIGHT.replace("model: s, ", "").replace("threshold: 0.9", "threshold: 9"), tmp_path)

    assert run_check(file, {}) == 2

    where = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]
    assert where == ["tiers.small.model", "cascades.auto.threshold"]


def complaint_about(file: Path, environment: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that `check` writes before it exits with 2."""
    assert run_check(file, environment) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def model_files(folder: Path, **config: object) -> None:
    """A model's folder, as far as its configuration."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))


def written(text: str, folder: Path) -> Path:
    """A file of this text."""
    file = folder / "configuration.yaml"
    file.write_text(text, encoding="utf-8")
    return file
