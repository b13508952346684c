"""`smallfirst evaluate`, as an operator runs it on recorded questions."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cli.test_commands import run
from fakes.recordings import recorded, recorded_file, recordings
from fakes.trusting import trust

from router.lab.evaluation import Wanted
from router.lab.seen import mark_of, sketch_of
from router.trust import trust_written
from server.cli.evaluate import Choices, Files, prices_of, run_evaluate

CHOICES = Choices("small", "large", None, False, {}, 10.0)


async def test_a_recorded_file_becomes_a_table_a_page_and_json(tmp_path: Path) -> None:
    file = recorded_file(tmp_path / "recorded.jsonl", 300)
    artefact = tmp_path / "trust.json"
    artefact.write_bytes(trust_written(trust(threshold=0.8)))
    html, figures = tmp_path / "report.html", tmp_path / "report.json"

    code, out, error = await run(
        "evaluate", str(file), "--artefact", str(artefact), "--fit", "--baseline", "min-logprob", "--draws", "100",
        "--html", str(html), "--json", str(figures), COLUMNS="80",
    )  # fmt: skip

    assert (code, error) == (0, "")
    assert "300 questions; costs as recorded" in out
    assert all(
        f"\n{name} " in out for name in ("min-logprob", "margin", "artefact", "fitted on text", "to keep 98.0 %")
    )
    assert max(map(len, out.split("\n\n")[1].splitlines())) <= 80
    assert html.read_text().startswith("<!doctype html>")
    said = json.loads(figures.read_text())
    assert said["kind"] == "smallfirst-evaluation-1"
    policies = {one["name"]: one for one in said["evaluation"]["policies"]}
    assert policies["min-logprob"]["measures"]["apgr"]["low"] > 0.5
    assert policies["artefact"]["own"]["at its own threshold"]["point"]["threshold"] >= 0.8
    assert policies["artefact"]["differences"].keys() == policies["min-logprob"]["measures"].keys()


async def test_without_anything_to_compare_the_command_says_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "recorded.jsonl"
    file.write_text(json.dumps({"id": "1", "outputs": {tier: {"model": tier, "correct": True} for tier in
                                                       ("small", "large")}}) + "\n")  # fmt: skip

    code, out, error = await run("evaluate", str(file))

    assert (code, out) == (2, "")
    assert error.startswith("error: no policy to compare: the drafts have neither a recorded confidence")


def evaluated(folder: Path, *files: Path, choices: Choices = CHOICES, artefact: Path | None = None) -> int:
    """The exit code of an evaluation of these files."""
    wanted = Files(files, artefact, folder / "out.html", folder / "out.json")
    return run_evaluate(wanted, choices, Wanted(draws=100))


def test_several_files_count_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [recorded_file(tmp_path / f"{seed}.jsonl", 60, seed=seed) for seed in (1, 2)]

    assert evaluated(tmp_path, *files) == 0

    assert "120 questions" in capsys.readouterr().out
    assert "1.jsonl, 2.jsonl" in (tmp_path / "out.html").read_text()


def test_an_artefact_on_the_file_that_it_was_tuned_on_is_told_to_flatter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, artefact = recorded_file(tmp_path / "recorded.jsonl", 60), tmp_path / "trust.json"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    artefact.write_bytes(trust_written(trust(recorded=digest, models=("one", "other"))))

    assert evaluated(tmp_path, file, artefact=artefact) == 0

    out = capsys.readouterr().out
    assert "The artefact was tuned on recorded.jsonl itself" in out
    assert "The artefact was made for one and other, not for these models" in out


def test_questions_that_an_artefact_was_tuned_on_are_known_again_however_they_were_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned_on = recorded(60)
    artefact, file = tmp_path / "trust.json", tmp_path / "saved-again.jsonl"
    artefact.write_bytes(trust_written(trust(seen=sketch_of(map(mark_of, tuned_on)))))
    again = [{**json.loads(one.model_dump_json()), "id": f"new-{one.id}", "note": 1} for one in reversed(tuned_on)]
    fresh = [{**one, "prompt": f"fresh {one['id']}", "request": None, "id": f"fresh-{one['id']}"} for one in again]
    file.write_text("".join(json.dumps(one, indent=None) + "\n" for one in (*again, *fresh)))

    assert evaluated(tmp_path, file, artefact=artefact) == 0

    assert "The artefact was tuned on 50.0 % of these questions: its figures are better" in capsys.readouterr().out


def test_fresh_questions_are_not_taken_for_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artefact = tmp_path / "trust.json"
    artefact.write_bytes(trust_written(trust(seen=sketch_of(["0123456789ab"]))))

    assert evaluated(tmp_path, recorded_file(tmp_path / "recorded.jsonl", 60), artefact=artefact) == 0

    assert "The artefact was tuned on" not in capsys.readouterr().out


def test_an_artefact_that_asks_for_p_true_pays_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(recordings(60))
    for one in found:
        one["outputs"]["small"]["opinions"] = {"p-true": {"model": "scripted", "value": 0.5, "cost": 2.0}}
    file = tmp_path / "recorded.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in found))
    artefact = tmp_path / "trust.json"
    artefact.write_bytes(trust_written(trust("p-true")))

    assert evaluated(tmp_path, file, artefact=artefact) == 0
    policies = {one["name"]: one for one in json.loads((tmp_path / "out.json").read_text())["evaluation"]["policies"]}
    least = [policies[name]["curve"]["cost"][0] for name in ("min-logprob", "artefact")]
    assert least == pytest.approx([0.1, 0.3])
    assert "What asking for P(True) costs" not in capsys.readouterr().out

    assert (
        evaluated(tmp_path, file, artefact=artefact, choices=replace(CHOICES, prices=prices_of(["small=1", "large=9"])))
        == 0
    )
    assert "What asking for P(True) costs is not known in this unit" in capsys.readouterr().out


def test_prices_change_what_it_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recorded_file(tmp_path / "recorded.jsonl", 60)

    prices = prices_of(["small=1", "large=100"])
    assert evaluated(tmp_path, file, choices=Choices("small", "large", None, False, prices, 10.0)) == 0

    assert "by characters, at the prices given" in capsys.readouterr().out
    said = json.loads((tmp_path / "out.json").read_text())
    assert said["evaluation"]["policies"][0]["curve"]["cost"][0] == pytest.approx(0.01)


@pytest.mark.parametrize("written", ["small", "=3", "small=x", "small=1:2:3"])
def test_what_is_no_price_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        prices_of([written])


@pytest.mark.parametrize(
    ("name", "choices", "mistake"),
    [
        ("gone", CHOICES, "No such file"),
        ("empty", CHOICES, "no question has an answer of 'small' (there are: none)"),
        ("broken", CHOICES, "broken.jsonl, line 2: no recorded question"),
        ("good", Choices("tiny", "large", None, False, {}, 10.0), "no question has an answer of 'tiny'"),
        ("good", Choices("small", "small", None, False, {}, 10.0), "--draft, --final and --helper are different tiers"),
        ("good", Choices("small", "large", "small", False, {}, 10.0), "are different tiers"),
        ("good", Choices("small", "large", "helper", False, {}, 10.0), "no question has an answer of 'helper'"),
        ("good", Choices("small", "large", None, False, {}, float("nan")), "a ratio of costs is a finite number"),
        ("good", Choices("small", "large", None, False, {"small": 1.0}, 10.0), "give each of small, large a price"),
        ("few", Choices("small", "large", None, True, {}, 10.0), "--fit: "),
        ("twice", CHOICES, "question '1-0' comes twice"),
        ("unreadable", CHOICES, "a recorded reply is no chat completion"),
    ],
)
def test_what_does_not_do_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, choices: Choices, mistake: str
) -> None:
    lines = [json.dumps(one) for one in recordings(3)]
    replied = json.loads(lines[0])
    replied["outputs"]["small"]["reply"] = {"choices": 5}
    contents = {"empty": [], "broken": [lines[0], "{"], "good": lines, "few": lines, "twice": [lines[0], lines[0]],
                "unreadable": [json.dumps(replied)]}  # fmt: skip
    for file, content in contents.items():
        (tmp_path / f"{file}.jsonl").write_text("".join(f"{line}\n" for line in content))

    assert evaluated(tmp_path, tmp_path / f"{name}.jsonl", choices=choices) == 2

    error = capsys.readouterr().err
    assert mistake in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.html").exists()


def test_an_artefact_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recorded_file(tmp_path / "recorded.jsonl", 20)

    assert evaluated(tmp_path, file, artefact=file) == 2

    assert "no artefact that `smallfirst tune` wrote" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recorded_file(tmp_path / "recorded.jsonl", 20)

    assert run_evaluate(Files((file,), None, tmp_path / "gone/x.html", tmp_path / "x.json"), CHOICES, Wanted()) == 2

    assert "No such file or directory" in capsys.readouterr().err
