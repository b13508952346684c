"""The console script `smallfirst`. Each command imports what it needs when it runs, so that none pays for another."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from server.cli.console import WRONG_USE, complain
from server.cli.key_commands import keys
from server.garbage import not_looking

app = typer.Typer(
    name="smallfirst",
    help="Ask a small model first, and the large one only where it helps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
demo = typer.Typer(help="The demo pair: train it, grade it.", no_args_is_help=True)
app.add_typer(demo, name="demo")
app.add_typer(keys, name="keys")

KEY_VARIABLE = "GATEWAY_API_KEY"  # a name that begins with SMALLFIRST_ would be a key of the configuration

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file, see docs/configuration.md.")]


@app.command()
def up(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The YAML file; without one, the demo pair.")
    ] = None,
) -> None:
    """Start the engines that CONFIG names and the gateway in front of them, and keep them running."""
    with not_looking():
        from server.cli.up import run_up

    raise typer.Exit(run_up(config, os.environ))


@app.command()
def serve(
    config: ConfigFile,
    workers: Annotated[int | None, typer.Option(min=1, help="So many processes answer, whatever CONFIG says.")] = None,
) -> None:
    """Start the gateway alone; the servers at the tiers' `urls` run elsewhere. SIGHUP reads CONFIG again."""
    with not_looking():
        from server.cli.serve import run_serve

    raise typer.Exit(run_serve(config, os.environ, workers=workers))


@app.command()
def check(config: ConfigFile) -> None:
    """Say what would run, or each mistake on one line."""
    from server.cli.check import run_check

    raise typer.Exit(run_check(config, os.environ))


@app.command()
def doctor(
    config: ConfigFile,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Ask everything that CONFIG names, and say what to do about what is not well."""
    from server.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(config, os.environ, as_json=as_json))


@app.command()
def chat(
    url: Annotated[str, typer.Option(help="Where the gateway is.")] = "http://127.0.0.1:8080",
    model: Annotated[str | None, typer.Option(help="The cascade or tier; else the gateway's first.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 512,
    api_key: Annotated[str | None, typer.Option(envvar=KEY_VARIABLE, help="The gateway's key.")] = None,
) -> None:
    """Talk to a running gateway: tokens shaded by how sure the model was, and what each answer cost."""
    from server.cli.chat import run_chat

    raise typer.Exit(run_chat(url, model, max_tokens, api_key))


@app.command()
def explain(
    decision: Annotated[str, typer.Argument(metavar="ID", help="A response's id, or its x-request-id.")],
    url: Annotated[str, typer.Option(help="Where the gateway is.")] = "http://127.0.0.1:8080",
    store: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Read the store itself: its folder, or its URL.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(envvar=KEY_VARIABLE, help="The gateway's key.")] = None,
) -> None:
    """Say why a request went where it went, token by token, and what it would have cost otherwise."""
    from server.cli.explain import run_explain

    raise typer.Exit(run_explain(decision, url=url, store=store, api_key=api_key))


@app.command()
def conformance(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="The gateway, for example http://127.0.0.1:8080.")
    ] = None,
    model: Annotated[str, typer.Option(help="What the gateway calls the model, or the cascade.")] = "auto",
    upstream_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Where the scripted model listens; the gateway's model is there."),
    ] = None,
    escalates: Annotated[bool, typer.Option("--escalates", help="The model is a cascade.")] = False,
    api_key: Annotated[str | None, typer.Option(help="The gateway's key.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="A header of every request, 'name: value'.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="AREA", help="Only the cases of this area.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the results to this file too.")] = None,
    print_config: Annotated[
        Literal["smallfirst", "litellm", "portkey"] | None,
        typer.Option(help="Print how this gateway is put in front of the scripted model."),
    ] = None,
) -> None:
    """Show whether a gateway keeps what the OpenAI API promises: 0 where nothing failed, 1 where something did."""
    from server.cli.conformance import Target, headers_of, run_conformance
    from server.conformance.recipes import recipe

    if print_config is not None:
        typer.echo(recipe(print_config, upstream_port or 9100), nl=False)
        return
    if url is None:
        raise typer.BadParameter("give the gateway's URL", param_hint="URL")
    try:
        headers = headers_of(header or (), api_key)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--header") from wrong
    target = Target(url, model, upstream_port, escalates, headers)
    raise typer.Exit(run_conformance(target, only or (), json))


@demo.command("train")
def demo_train(
    which: Annotated[Literal["small", "large", "both"], typer.Argument()] = "both",
    out: Annotated[Path, typer.Option(help="Where models and checkpoints go; a run resumes from there.")] = Path(
        "runs/demo"
    ),
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: str = "auto",
) -> None:
    """Train the demo pair from its seeds (extra `engine`)."""
    keep_memory()
    with extra("engine"):
        from server.cli.demo import run_train

    raise typer.Exit(run_train(which, out, threads, device))


@demo.command("grade")
def demo_grade(
    weights: Annotated[Path | None, typer.Option(help="Another pair than the shipped one.")] = None,
    questions: Annotated[int, typer.Option(min=1)] = 3000,
    device: str = "auto",
) -> None:
    """Grade the demo pair on its held-out questions, task by task (extra `engine`)."""
    with extra("engine"):
        from models.demo.files import WEIGHTS
        from server.cli.demo import run_grade

    raise typer.Exit(run_grade(weights or WEIGHTS, questions, device))


@demo.command("questions")
def demo_questions(
    split: Annotated[Literal["train", "threshold", "held-out"], typer.Option(help="Who may see them.")] = "threshold",
    count: Annotated[int, typer.Option(min=1)] = 1000,
    seed: Annotated[str | None, typer.Option(help="Draw others than those that the demo is graded on.")] = None,
) -> None:
    """Print the demo pair's questions with their answers, as prompts for `smallfirst record`."""
    from models.demo.question import Split
    from server.cli.questions import prompts

    for line in prompts(Split(split), count, seed):
        typer.echo(line)


@app.command()
def usage(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="Whose store is read.")] = None,
    store: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Read this store: its folder, or its URL.")
    ] = None,
    by: Annotated[str, typer.Option(help="Of day, key, cascade, tier, with commas between them.")] = "cascade,tier",
    since: Annotated[str | None, typer.Option(metavar="DAY", help="From this day (UTC); 7d: the last seven.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="To this day, and with it.")] = None,
    key: Annotated[str | None, typer.Option(help="Of this key alone, by its public id.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what was asked, answered, spent and saved, by key, cascade, tier and day."""
    from server.cli.usage import run_usage
    from server.store.usage import asked_for

    try:
        asked = asked_for(by, since, until, key)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    raise typer.Exit(run_usage(config, store, asked, as_json=as_json))


@app.command("prompts")
def stored_prompts(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store's folder, or its URL.")],
    cascade: Annotated[str | None, typer.Option(help="Of this cascade alone.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="So many, drawn at random.")] = None,
    judged_only: Annotated[bool, typer.Option("--judged-only", help="Those with feedback alone.")] = False,
    seed: Annotated[int, typer.Option(help="Draws the sample.")] = 1,
) -> None:
    """Print requests of the decision log, where texts are kept, as prompts for `smallfirst record`."""
    from server.cli.prompts import run_prompts

    raise typer.Exit(run_prompts(store, cascade=cascade, sample=sample, judged_only=judged_only, seed=seed))


@app.command()
def record(
    prompts: Annotated[Path, typer.Argument(metavar="PROMPTS", help="JSONL, see docs/recorded.md.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="JSONL; what it holds already is not asked again.")],
    url: Annotated[str, typer.Option(help="A running gateway, whose tiers are asked.")] = "http://127.0.0.1:8080",
    config: Annotated[
        Path | None, typer.Option(help="Ask the servers of this configuration instead, at its tiers' `urls`.")
    ] = None,
    cascade: Annotated[
        str | None, typer.Option(help="The cascade whose tiers are asked, where there are several.")
    ] = None,
    tiers: Annotated[str | None, typer.Option(help="The tiers, with commas between them; the final one last.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Questions that a tier answers at a time.")] = 8,
    temperature: Annotated[float | None, typer.Option(min=0, help="For requests that name none.")] = None,
    grader: Annotated[str | None, typer.Option(help="Grades questions that name no grader of their own.")] = None,
    p_true: Annotated[
        str | None, typer.Option(metavar="TIER", help="Ask this tier too whether the first tier's answers are right.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="The gateway's key.")] = None,
) -> None:
    """Put questions to every tier, and keep the answers with log-probabilities, time, tokens and cost."""
    from server.cli.record import Wanted, run_record
    from server.cli.recorded_tiers import Choice, Gateway

    names = [name.strip() for name in (tiers or "").split(",") if name.strip()]
    wanted = Wanted(prompts, out, Choice(names, cascade, p_true), at_once, temperature, grader)
    raise typer.Exit(run_record(wanted, config or Gateway(url, api_key), os.environ))


@app.command()
def grade(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded questions.")],
    grader: Annotated[
        str | None,
        typer.Option(
            help="exact, numeric, choice, json, regex:PATTERN, agreement[:GRADER], command:LINE, judge:MODEL@URL, or"
            " an installed one's name."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Another file for the result than FILE itself.")] = None,
    final: Annotated[str | None, typer.Option(help="The final tier, where questions have more than two.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Questions at a time.")] = 8,
) -> None:
    """Tell which recorded answers are right."""
    from server.cli.grade import Wanted, run_grade

    raise typer.Exit(run_grade(Wanted(file, (out or file).resolve(), grader, final, at_once), os.environ))


@app.command()
def tune(
    config: ConfigFile,
    recorded: Annotated[Path, typer.Argument(help="Graded questions: what `smallfirst record` kept.")],
    out: Annotated[Path, typer.Argument(help="The artefact's file, for `trust:`.")],
    cascade: Annotated[str | None, typer.Option(help="Which one, where CONFIG has several.")] = None,
    epsilon: Annotated[
        float | None, typer.Option(min=0.0001, max=0.5, help="Certify that the loss is at most this share of requests.")
    ] = None,
    delta: Annotated[float, typer.Option(min=0.0001, max=0.5, help="The chance that the certificate is wrong.")] = 0.1,
    quality: Annotated[
        float | None, typer.Option(min=0, help="Keep this share of the final tier's right answers.")
    ] = None,
    escalated: Annotated[
        float | None, typer.Option(min=0, max=1, help="Escalate at most this share of requests.")
    ] = None,
    cost: Annotated[
        float | None, typer.Option(min=0, help="Spend at most this share of the final tier's cost alone.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="The threshold of mode `threshold`, as you say.")
    ] = None,
    scorer: Annotated[str, typer.Option(help="`fitted`, or one of the fixed scorers.")] = "fitted",
    features: Annotated[
        str | None, typer.Option(help="What a fitted scorer reads, with commas between; else `tokens`.")
    ] = None,
    confidence_of: Annotated[
        Literal["right", "no-regret"], typer.Option(help="What the confidence is the probability of.")
    ] = "right",
    by_task: Annotated[bool, typer.Option("--by-task", help="Fit each task that has enough questions alone.")] = False,
    clusters: Annotated[
        str | None,
        typer.Option(help="As --by-task, told from a request's words: `task`, or how many groups are to be found."),
    ] = None,
    certify_share: Annotated[
        float, typer.Option(min=0.1, max=0.9, help="Share of the questions kept for the certificate.")
    ] = 0.5,
    max_age_days: Annotated[
        int, typer.Option(min=1, max=36_500, help="How long the certificate holds without audits.")
    ] = 90,
    gate_sizes: Annotated[
        str, typer.Option(help="Numbers of first tokens for the stream gate; empty for no gate.")
    ] = "8,16,24,32,48,64,96,128",
    loss: Annotated[
        Literal["regret", "disagreement"],
        typer.Option(help="What is certified; audits in production can watch `disagreement` with the final tier."),
    ] = "regret",
    skip: Annotated[
        bool,
        typer.Option("--skip", help="Fit a score of prompts too, which may skip the drafter, if it earns its place."),
    ] = False,
    embeddings: Annotated[
        str | None, typer.Option(metavar="TIER", help="With --skip: score what this tier's /v1/embeddings says.")
    ] = None,
    audit_grader: Annotated[
        str | None,
        typer.Option(help="What tells whether a draft and the final tier agree; else that of CONFIG's audits."),
    ] = None,
    answer_grader: Annotated[
        str | None,
        typer.Option(help="What finds the final answer in a draft, for features of its text; see docs/trust.md."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the split.")] = 1,
) -> None:
    """Fit a scorer, its calibration, a threshold and the stream gate to graded questions, and certify them (extra
    `lab`)."""
    with extra("lab"):
        from router.lab.tuning import Promise, Wanted
        from server.cli.tune import (
            Files,
            Named,
            clusters_named,
            features_named,
            run_tune,
            scorer_named,
            sizes_of,
            target_of,
        )

    if embeddings is not None and not skip:
        raise typer.BadParameter("--embeddings: they are for the score of prompts: give --skip too")
    try:
        wanted = Wanted(
            scorer=scorer_named(scorer),
            features=features_named(features),
            confidence_of=confidence_of,
            target=target_of(quality=quality, escalated=escalated, cost=cost, threshold=threshold),
            threshold=threshold,
            promise=None if epsilon is None else Promise(epsilon, delta, max_age_days),
            certify_share=certify_share,
            by_task=by_task,
            clusters=clusters_named(clusters, by_task=by_task),
            gate_sizes=sizes_of(gate_sizes),
            loss=loss,
            skip=skip,
            seed=seed,
        )
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    files = Files(config, recorded, out)
    raise typer.Exit(run_tune(files, wanted, Named(cascade, audit_grader, answer_grader, embeddings), os.environ))


@app.command()
def recertify(
    config: ConfigFile,
    cascade: Annotated[
        str | None, typer.Argument(metavar="CASCADE", help="Which one, where CONFIG has several.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The new artefact's file, for `trust:`; without it, only say what it would be.")
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=0.5, help="Certify that at most this share of requests disagrees; as before, if not given."
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Of certificates by task, only this one's; again for more. Else all.")
    ] = None,
) -> None:
    """Certify a cascade's policy anew, from the audits of the drafts that it accepted (extra `lab`)."""
    with extra("lab"):
        from server.cli.recertify import run_recertify

    code = run_recertify(config, cascade, epsilon=epsilon, out=out, environment=os.environ, tasks=task or ())
    raise typer.Exit(code)


@app.command()
def evaluate(
    recorded: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Graded questions, docs/recorded.md.")],
    draft: Annotated[str, typer.Option(help="The tier that drafts.")] = "small",
    final: Annotated[str, typer.Option(help="The final tier.")] = "large",
    helper: Annotated[
        str | None, typer.Option(help="Whose answer is compared with the draft's; `helper`, if all questions have one.")
    ] = None,
    artefact: Annotated[Path | None, typer.Option(help="What `smallfirst tune` wrote: how it judges.")] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Also a scorer of the text, and of the prompt, fitted to other questions.")
    ] = False,
    baseline: Annotated[str | None, typer.Option(help="The policy that others are compared with.")] = None,
    quality_kept: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the final tier's right answers to keep.")
    ] = 0.98,
    price: Annotated[
        list[str] | None,
        typer.Option(metavar="TIER=PRICE", help="INPUT:OUTPUT of a million tokens, or one number of a character."),
    ] = None,
    cost_ratio: Annotated[
        float, typer.Option(min=0, help="What a character of the final tier costs, where no cost is known.")
    ] = 10.0,
    draws: Annotated[int, typer.Option(min=100, max=100_000, help="Resamples for the intervals.")] = 1000,
    html: Annotated[Path, typer.Option(help="The report.")] = Path("evaluation.html"),
    json: Annotated[Path, typer.Option(help="The same figures.")] = Path("evaluation.json"),
) -> None:
    """Compare policies on recorded questions: cost, quality, calibration, with intervals (extra `lab`)."""
    with extra("lab"):
        from router.lab.evaluation import Wanted
        from server.cli.evaluate import Choices, Files, prices_of, run_evaluate

    try:
        choices = Choices(draft, final, helper, fit, prices_of(price or ()), cost_ratio)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--price") from wrong
    files = Files(tuple(recorded), artefact, html, json)
    raise typer.Exit(run_evaluate(files, choices, Wanted(baseline, quality_kept, draws)))


@app.command()
def engine(
    model: Annotated[str, typer.Argument(help="A folder in Hugging Face's format, or a model's name on its hub.")],
    served_model_name: Annotated[str | None, typer.Option(help="The name that requests use.")] = None,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    max_batch: Annotated[int, typer.Option(min=1, help="Answers that advance together.")] = 16,
    max_queued: Annotated[int | None, typer.Option(min=0, help="Waiting requests beyond which it answers 503.")] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Tokens of prompt and answer.")] = None,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one step.")] = None,
    speculative_tokens: Annotated[
        int, typer.Option(min=0, max=128, help="Draft tokens verified in one step; 0 ignores drafts.")
    ] = 16,
) -> None:
    """Serve one causal language model by transformers, with vLLM's requests and replies (extra `engine`)."""
    from models.engine.main import serve as serve_engine

    with extra("engine"):
        code = serve_engine(
            model,
            served_model_name=served_model_name,
            host=host,
            port=port,
            max_batch=max_batch,
            max_queued=max_queued,
            max_model_len=max_model_len,
            dtype=dtype,
            device=device,
            threads=threads,
            speculative_tokens=speculative_tokens,
        )
    raise typer.Exit(code)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """A library that is missing inside is one that this extra brings."""
    try:
        yield
    except ModuleNotFoundError as missing:
        complain([f"{missing.name} is not installed: it comes with `pip install 'smallfirst[{name}]'`"])
        raise typer.Exit(WRONG_USE) from missing


def keep_memory() -> None:
    """Start this command anew in an environment in which glibc keeps the memory of large tensors between steps.

    Without it a training step on a CPU spends most of its time getting that memory back from the system.
    """
    wanted = {
        "MALLOC_MMAP_THRESHOLD_": "2000000000",
        "MALLOC_TRIM_THRESHOLD_": "8000000000",
        "MALLOC_TOP_PAD_": "500000000",
    }
    if sys.platform == "linux" and not wanted.keys() <= os.environ.keys():
        os.execve(sys.argv[0], sys.argv, {**wanted, **os.environ})  # noqa: S606 - this very command
