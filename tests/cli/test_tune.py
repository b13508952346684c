"""`smallfirst tune`, as an operator types it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli.test_commands import run
from fakes.embedding import embeds, says
from fakes.recordings import recorded_file
from fakes.scripted import Script, ScriptedServer
from fakes.trusting import trust

from router.trust import trust_written
from server.cli.artefact_file import write_artefact

CONFIG = """
tiers:
  small: {model: scripted, price: {input: 1, output: 2}, urls: ["http://127.0.0.1:1"]}
  large: {model: scripted, price: {input: 10, output: 20}, urls: ["http://127.0.0.1:2"]}
cascades:
  auto: {tiers: [small, large], trust: trust.json, mode: certified}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration, and graded questions."""
    (tmp_path / "pair.yaml").write_text(CONFIG)
    recorded_file(tmp_path / "recorded.jsonl", 1200)
    return tmp_path


async def tuned(folder: Path, *options: str, recorded: str = "recorded.jsonl") -> tuple[int, str, str]:
    """The command."""
    files = [str(folder / name) for name in ("pair.yaml", recorded, "trust.json")]
    return await run("tune", *files, *options, COLUMNS="200")


async def test_an_artefact_is_tuned_and_served(folder: Path) -> None:
    code, said, error = await tuned(folder, "--epsilon", "0.05")

    assert (code, error) == (0, "")
    assert "certified: regret <= 0.05 with probability 0.9" in said
    assert "1200 questions, of which 1200 drafts can be scored" in said
    assert json.loads((folder / "trust.json").read_text())["grader"] == "unnamed"
    code, plan, error = await run("check", str(folder / "pair.yaml"), COLUMNS="200")
    assert (code, error) == (0, "")
    assert "small if fitted confidence >= 0." in plan
    assert "certified: regret <= 0.05 with probability 0.9, until" in plan


async def test_who_reads_an_artefact_while_another_is_written_reads_the_one_before(folder: Path) -> None:
    fixed = ("--scorer", "mean-logprob", "--gate-sizes", "", "--threshold")
    await tuned(folder, *fixed, "0.5")
    before = (folder / "trust.json").read_text()

    with (folder / "trust.json").open() as reading:
        await tuned(folder, *fixed, "0.75")

        assert reading.read() == before
    assert '"threshold": 0.75' in (folder / "trust.json").read_text()


def test_an_artefact_may_go_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        write_artefact(trust(), pipe)

        assert read.result(10) == trust_written(trust())


async def test_an_age_beyond_all_calendars_is_refused(folder: Path) -> None:
    code, _, error = await tuned(folder, "--epsilon", "0.05", "--max-age-days", "99999999")

    assert code == 2
    assert "--max-age-days" in error
    assert not (folder / "trust.json").exists()


async def test_an_artefact_knows_again_what_it_was_tuned_on(folder: Path) -> None:
    await tuned(folder, "--quality", "0.98")
    again = folder / "again.jsonl"
    lines = (folder / "recorded.jsonl").read_text().splitlines()
    again.write_text("".join(json.dumps({"saved": "again", **json.loads(line)}) + "\n" for line in reversed(lines)))

    code, out, error = await run(
        "evaluate", str(again), "--artefact", str(folder / "trust.json"), "--draws", "100",
        "--html", str(folder / "out.html"), "--json", str(folder / "out.json"),
    )  # fmt: skip

    assert (code, error) == (0, "")
    assert "The artefact was tuned on 100.0 % of these questions" in out


async def test_a_helper_that_was_another_model_is_refused(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "recorded.jsonl").read_text().splitlines()]
    for line in lines:
        line["outputs"]["helper"] = {"model": "other", "text": "x"}
    (folder / "recorded.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tier = 'helper: {model: h, price: {input: 1, output: 2}, urls: ["http://127.0.0.1:3"]}\ncascades:'
    asks = "auto: {opinions: {agreement: {tier: helper, grader: exact}}, "
    (folder / "pair.yaml").write_text(CONFIG.replace("cascades:", f"  {tier}").replace("auto: {", asks))

    code, _, error = await tuned(folder, "--features", "agreement,margin")

    assert code == 2
    assert "tier 'helper' was recorded with other, and the configuration has h" in error


@pytest.mark.parametrize(
    ("options", "finder"),
    [((), "nobody (--answer-grader)"), (("--answer-grader", "choice"), "choice")],
    ids=["nobody", "named"],
)
async def test_texts_are_fitted_and_whoever_finds_their_answers_is_kept(
    folder: Path, options: tuple[str, ...], finder: str
) -> None:
    code, said, error = await tuned(folder, "--features", "tokens,text", "--quality", "0.98", *options)

    assert (code, error) == (0, "")
    assert f"text features: final answers found by {finder}" in said
    assert "no gate: the scorer judges whole drafts, so streams are held" in said
    scorer = json.loads((folder / "trust.json").read_text())["fit"]["scorer"]
    assert scorer.get("answer_by") == (options[1] if options else None)
    assert {"mean-logprob", "text-length"} < set(scorer["names"])


async def test_answers_are_found_by_the_grader_that_told_which_are_right(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "recorded.jsonl").read_text().splitlines()]
    (folder / "recorded.jsonl").write_text(
        "".join(json.dumps({**line, "graded_by": "agreement:numeric"}) + "\n" for line in lines)
    )

    await tuned(folder, "--features", "text", "--quality", "0.98")

    assert json.loads((folder / "trust.json").read_text())["fit"]["scorer"]["answer_by"] == "numeric"


async def test_a_score_of_bare_prompts_is_fitted(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "recorded.jsonl").read_text().splitlines()]
    for line in lines:
        line["prompt"] = line.pop("request")["messages"][0]["content"]
    (folder / "recorded.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    code, said, error = await tuned(folder, "--skip", "--quality", "0.98")

    assert (code, error) == (0, "")
    assert f"skipping: on {len(lines)} prompts that it had not seen" in said


@pytest.mark.parametrize(
    ("opinion", "mistake"),
    [
        (None, "question '1-0' has no P(True) of the draft: record it with --p-true"),
        ({"model": "other", "value": 0.5},
         "the opinion 'p-true' was recorded with other, and the configuration has scripted"),
    ],
    ids=["nobody", "another model"],
)  # fmt: skip
async def test_p_true_of_nobody_or_of_another_model_is_refused(
    folder: Path, opinion: dict[str, object] | None, mistake: str
) -> None:
    lines = [json.loads(line) for line in (folder / "recorded.jsonl").read_text().splitlines()]
    for line in lines if opinion else ():
        line["outputs"]["small"]["opinions"] = {"p-true": opinion}
    (folder / "recorded.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "pair.yaml").write_text(CONFIG.replace("auto: {", "auto: {opinions: {p-true: {}}, "))

    code, _, error = await tuned(folder, "--features", "p-true,margin", "--quality", "0.98")

    assert code == 2
    assert mistake in error


async def test_an_artefact_without_a_promise_is_refused_for_mode_certified(folder: Path) -> None:
    assert (await tuned(folder, "--quality", "0.98"))[0] == 0

    code, _, error = await run("check", str(folder / "pair.yaml"), COLUMNS="200")

    assert code == 2
    assert "the artefact has no certificate (it was tuned without --epsilon)" in error


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (("scripted, price: {input: 10", "newer, price: {input: 10"),
         "it was made for scripted and scripted, the cascade has scripted and newer: tune again"),
        (("mode: certified", "mode: certified, checks: [empty]"), "it was certified with the checks empty, malformed"),
        (("mode: certified", "mode: certified, on_missing_evidence: accept"),
         "it was certified with on_missing_evidence: escalate"),
        (("mode: certified", "scorer: margin"), "scorer: the artefact of `trust` has its own"),
        (("trust: trust.json", "trust: pair.yaml"), "no artefact that `smallfirst tune` wrote (the file: Invalid JSON"),
    ],
    ids=["another model", "other checks", "other evidence", "a scorer beside it", "another file"],
)  # fmt: skip
async def test_an_artefact_that_does_not_fit_is_refused(folder: Path, change: tuple[str, str], mistake: str) -> None:
    await tuned(folder, "--epsilon", "0.05")
    (folder / "pair.yaml").write_text(CONFIG.replace(*change))

    code, _, error = await run("check", str(folder / "pair.yaml"), COLUMNS="300")

    assert code == 2
    assert mistake in error


def tricky_questions(folder: Path) -> None:
    """Questions whose words tell whether the drafter is right."""
    lines = [json.loads(line) for line in (folder / "recorded.jsonl").read_text().splitlines()]
    for place, line in enumerate(lines):
        line["outputs"]["small"]["correct"] = place % 3 == 0
        line["request"]["messages"][0]["content"] = f"{'plain' if place % 3 == 0 else 'Tricky'} {place}"
    (folder / "recorded.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


async def test_embeddings_of_a_tier_earn_a_skip_router_its_place(folder: Path) -> None:
    tricky_questions(folder)
    async with ScriptedServer(Script(handler=embeds("tricky"))) as server:
        tier = f'embedder: {{model: e, price: {{input: 1, output: 0}}, urls: ["{server.url}"]}}\ncascades:'
        (folder / "pair.yaml").write_text(CONFIG.replace("cascades:", f"  {tier}").replace("certified", "threshold"))

        code, said, error = await tuned(folder, "--skip", "--embeddings", "embedder", "--escalated", "0.5")

    assert (code, error) == (0, "")
    assert "skipping: on 1200 prompts that it had not seen, its order gains +" in said
    assert "one of words gains +" in said
    assert ": in the artefact" in said
    skip = json.loads((folder / "trust.json").read_text())["skip"]
    assert (skip["kind"], skip["model"], len(skip["weights"])) == ("embedding-gain", "e", 2)
    assert len(server.seen) == 1200
    with_skip = (folder / "pair.yaml").read_text().replace("mode:", "skip: {below: 0.3, embeddings: embedder}, mode:")
    (folder / "pair.yaml").write_text(with_skip)
    _, plan, error = await run("check", str(folder / "pair.yaml"), COLUMNS="200")
    assert error == ""
    assert "not small if confidence before generation < 0.3, by the embeddings of embedder" in plan


async def test_what_does_not_earn_its_place_is_left_out(folder: Path) -> None:
    code, said, error = await tuned(folder, "--skip", "--escalated", "0.5")

    assert (code, error) == (0, "")
    assert "left out of the artefact: it has not earned its place" in said
    assert "skip" not in json.loads((folder / "trust.json").read_text())


@pytest.mark.parametrize(
    ("answering", "code", "mistake"),
    [
        (says({"error": "no"}, 404), 1, "--embeddings: tier 'embedder': "),
        (says({"error": "no"}, 500), 1, "--embeddings: tier 'embedder': "),
        (says({"data": []}), 1, "no embedding"),
        (says({"error": "too long"}, 400), 1, "--embeddings: tier 'embedder': "),
    ],
    ids=["no such endpoint", "fails", "no embedding", "takes none"],
)
async def test_servers_that_give_no_embeddings_are_told(folder: Path, answering, code: int, mistake: str) -> None:
    async with ScriptedServer(Script(handler=answering)) as server:
        tier = f'embedder: {{model: e, price: {{input: 1, output: 0}}, urls: ["{server.url}"]}}\ncascades:'
        (folder / "pair.yaml").write_text(CONFIG.replace("cascades:", f"  {tier}"))

        done, _, error = await tuned(folder, "--skip", "--embeddings", "embedder", "--epsilon", "0.05")

    assert done == code
    assert mistake in error
    assert "Traceback" not in error
    assert not (folder / "splits.json").exists(), "no split is used up"


async def test_kinds_that_words_tell_are_told_by_the_plan(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "recorded.jsonl").read_text().splitlines()]
    for place, line in enumerate(lines):
        line["task"] = ("sums", "poems")[place % 2]
        line["request"]["messages"][0]["content"] = f"{line['task']}, {place}"
    (folder / "recorded.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    code, said, error = await tuned(folder, "--epsilon", "0.1", "--clusters", "task")

    assert (code, error) == (0, "")
    assert "words tell 2 kinds of request, down to a likeness of 0." in said
    assert "sums: scorer fitted" in said
    assert "all kinds together: " in said
    _, plan, _ = await run("check", str(folder / "pair.yaml"), COLUMNS="200")
    assert "by the words of a request, poems: small if fitted confidence >= 0." in plan
    assert ", sums: small if fitted confidence >= 0." in plan
    assert "others: large (certified: regret <= 0.1 with probability 0.966667 for poems, sums, until" in " ".join(
        plan.split()
    )


@pytest.mark.parametrize(
    ("options", "code", "mistake"),
    [
        (("--quality", "1.5"), 1, "no threshold reaches quality 1.5"),
        (("--quality", "0.9", "--cost", "0.5"), 2, "give one of --quality, --escalated, --cost and --threshold"),
        (("--scorer", "vibes"), 2, "there is no 'vibes' (there are: fitted, mean-logprob"),
        (("--features", "mean-logprob,vibes"), 2, "there is no vibes (there are: tokens, text, mean-logprob"),
        (("--gate-sizes", "a,b"), 2, "numbers with commas between them are wanted"),
        (("--gate-sizes", "0"), 2, "a gate has one token at least"),
        (("--cascade", "otto"), 2, "there is no 'otto' (there are: auto)"),
        (("--audit-grader", "vibes"), 2, "vibes"),
        (("--clusters", "some"), 2, "`task`, or a number from 2 to 32"),
        (("--clusters", "1"), 2, "`task`, or a number from 2 to 32"),
        (("--clusters", "task", "--by-task"), 2, "give one of --by-task"),
        (("--embeddings", "small"), 2, "give --skip too"),
        (("--embeddings", "nobody", "--skip"), 2, "there is no tier 'nobody'"),
        (("--embeddings", "small", "--skip"), 1, "--embeddings: tier 'small': "),
        (("--features", "text", "--answer-grader", "vibes"), 2, "there is no grader 'vibes'"),
        (("--features", "p-true"), 2, "say who answers p-true, in the cascade's opinions"),
        (("--features", "agreement"), 2, "name its tier in the cascade's opinions.agreement"),
        (("--epsilon", "0.0001"), 0, ""),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_line(
    folder: Path, options: tuple[str, ...], code: int, mistake: str
) -> None:
    done, said, error = await tuned(folder, *options)

    assert done == code
    assert mistake in error
    assert "Traceback" not in error
    assert code != 0 or "infeasible" in said


@pytest.mark.parametrize(
    ("content", "code", "mistake"),
    [
        (None, 2, "No such file"),
        ("", 1, "0 graded questions"),
        ("{}\n", 2, "line 1: no recorded question: id: Field required"),
        ('{"id": "1", "outputs": {"small": {"model": "scripted", "correct": true}}}\n', 2, "no answer of tier 'large'"),
        ('{"id": "1", "outputs": {"small": {"model": "other", "correct": true}, "large": {"model": "scripted"}}}\n', 2,
         "tier 'small' was recorded with other, and the configuration has scripted"),
    ],
    ids=["gone", "empty", "no question", "no large", "another model"],
)  # fmt: skip
async def test_a_file_that_does_not_do_is_told(folder: Path, content: str | None, code: int, mistake: str) -> None:
    file = folder / "odd.jsonl"
    if content is not None:
        file.write_text(content)

    done, _, error = await tuned(folder, recorded="odd.jsonl")

    assert done == code
    assert mistake in error
    assert "Traceback" not in error
