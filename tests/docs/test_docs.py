"""The documentation says what the code does: every key, metric, header and error, and every example works."""

import inspect
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from random import Random
from typing import get_args, get_origin

import pytest
import yaml
from pydantic.fields import FieldInfo

from models.answer import Speculation, Usage, WentOn
from models.endpoint import Endpoint, Limits
from models.errors import BadReply, CapabilityMiss, FailureReason, Misconfigured, Overloaded, TimedOut, Unreachable
from models.likeness import Look
from models.pool import Pool
from models.replica import Replica
from router.audits import AuditResult, AuditRules, Sampling
from router.budget import Budget
from router.call import Tier
from router.cascade import Cascade
from router.certificate import Certificate
from router.drift import WINDOW, Drift, histogram_of
from router.events import (
    AcceptanceReason,
    Accepted,
    Began,
    Called,
    Capped,
    Continued,
    Drafted,
    Escalated,
    EscalationReason,
    Event,
    Failed,
    Fallback,
    Finished,
    Opened,
    Planned,
    Scored,
    ThresholdBy,
    Verdict,
)
from router.failover import Failover
from router.money import LengthRatio, Price
from router.outcome import Outcome
from router.policy import Policy
from router.scorers import SCORERS
from router.standing import State
from router.steering import Steering
from router.watch import Watch
from server.access.refusal import Reason
from server.auditing import Auditor, Comparing
from server.cascades import Overseen, cascade_card
from server.cli.check import run_check
from server.doors.feedback import FeedbackRequest
from server.errors import DEADLINE, INTERNAL, problem_of, status_problem
from server.headers import decision_headers
from server.limits.holding import limited, unavailable
from server.limits.line import Line, LineRules, ShedReason
from server.limits.metrics import CascadeCounting, LimitMetrics
from server.limits.standing import Refusal, RefusalReason
from server.limits.turn import CODES
from server.metrics import Metrics
from server.recall import FULL, UNREADABLE
from server.settings.reading import read_settings
from server.settings.schema import Settings
from server.settings.section import Section
from server.store.memory import MemoryLedger
from server.store.records import Decision, Evidence, Feedback, Step, Texts
from server.store.tally import Tally
from server.store.telling import Alone, Otherwise
from server.workers.metrics import ParentMetrics, Reload


def lately_verified(endpoint: Endpoint) -> Replica:
    """A server of which everything is known that metrics show; nobody asks it."""
    replica = Replica(endpoint, session=object(), limits=Limits())
    replica.acceptance.learn(Speculation(4, 3, 1, 4))
    replica.recognition.met(Look("a"))
    return replica


def unasked(endpoint: Endpoint) -> Replica:
    """A pool without endpoints connects to none."""
    raise AssertionError(endpoint)


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
HISTOGRAM_ENDS = ("_bucket", "_sum", "_count")
EXAMPLE_KEY = "sk-example"
NEEDED = {"remote-final-tier.yaml": {"SMALLFIRST_TIERS__LARGE__API_KEY": EXAMPLE_KEY}}

NOBODY = Pool((), unasked)
PAIR = Cascade(
    "auto",
    (Tier("small", NOBODY, Price(1, 2)), Tier("large", NOBODY, Price(10, 20))),
    Policy("threshold", SCORERS["mean-logprob"], 0.9, (), "escalate", fallback="alarmed", cluster="poems"),
    LengthRatio(),
    Failover(1.0),
    steering=Steering(escalated=Budget(0.5)),
)
CERTIFICATE = Certificate(
    loss="disagreement", grader="exact", epsilon=0.02, delta=0.1, threshold=0.9, questions=500, accepted=400, losses=3,
    split="0" * 64, certified_on=date(2026, 1, 1),
)  # fmt: skip
STORY: tuple[Event, ...] = (
    Began("small", 0.1),
    Called("small", Usage(10, 3), 0.1),
    Scored("small", -0.1, 0.9),
    Verdict("large", 0.7),
    Accepted("small", "sure"),
    Drafted("small", 3, 3),
    Opened("small", 2, 0.9, 0.1),
    Escalated("small", "large", "unsure"),
    Continued("large", 2),
    Called("large", Usage(10, 3), 0.1, Speculation(4, 3, 1, 4), went_on=WentOn("ids", 2)),
    Capped("small"),
    Planned("auto", ("small", "large"), "exact", 0.5, "uncertified"),
    Failed("large", "timeout"),
    Finished("large"),
)


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {bare(row[0]): bare(row[2]) for row in rows("configuration.md", "Key")}

    assert documented == {
        key: " or ".join(dict.fromkeys(map(default_of, fields))) for key, fields in settings().items()
    }


def test_every_value_of_a_setting_is_documented() -> None:
    documented = {bare(row[0]): quoted(row[1]) - {"null"} for row in rows("configuration.md", "Key")}

    assert documented == {
        key: {word for field in fields for word in words_of(field.annotation)} for key, fields in settings().items()
    }


def test_every_metric_is_documented_with_its_labels() -> None:
    documented = {bare(row[0]): quoted(row[2]) for row in rows("metrics.md", "Metric")}

    assert documented == metrics_and_labels()


def test_every_reason_is_documented() -> None:
    reasons = {*words_of(EscalationReason), *words_of(AcceptanceReason), *words_of(FailureReason), *words_of(Fallback)}

    assert reasons <= quoted(text_of("metrics.md"))
    assert reasons <= quoted(text_of("api.md"))


def test_every_reason_to_turn_somebody_away_is_documented() -> None:
    assert {bare(row[0]) for row in rows("metrics.md", "Turned away")} == set(words_of(Reason))
    assert set(get_args(Reload)) <= quoted(text_of("metrics.md"))


def test_queries_use_metrics_and_labels_that_exist() -> None:
    known = {sample for name in metrics_and_labels() for sample in (name, *(name + end for end in HISTOGRAM_ENDS))}
    labels = {"le"}.union(*metrics_and_labels().values())
    queries = blocks("promql", DOCS / "metrics.md")

    for query in queries:
        assert set(re.findall(r"smallfirst_\w+", query)) <= known
        assert {label for group in re.findall(r"(?:by|on) \(([^)]*)\)", query) for label in group.split(", ")} <= labels
        assert query.count("(") == query.count(")")
    assert len(queries) >= 4


def test_every_header_of_a_decision_is_documented() -> None:
    outcome = told(STORY)

    headers = decision_headers(outcome, request_id="1", overhead_s=0.1)

    assert {bare(row[0]) for row in rows("api.md", "Header")} == set(headers)


def test_every_key_of_a_cascade_is_documented() -> None:
    card = cascade_card(overseen())

    documented = {key for row in rows("watching.md", "Key") for key in quoted(row[0])}

    assert documented == set(dotted(card))


def test_every_state_of_a_certificate_is_documented() -> None:
    assert {bare(row[0]) for row in rows("watching.md", "State")} == set(words_of(State))
    assert set(words_of(Fallback)) <= quoted(text_of("api.md"))


def test_every_result_of_an_audit_and_every_mover_of_a_threshold_is_documented() -> None:
    assert {*words_of(AuditResult), *words_of(ThresholdBy), *words_of(State)} <= quoted(text_of("metrics.md"))
    assert set(words_of(ThresholdBy)) <= quoted(text_of("api.md"))


def test_every_key_of_a_decision_is_documented() -> None:
    keys = {field.name for kind in (Decision, Step, Evidence, Texts, Otherwise, Alone) for field in fields(kind)}

    assert keys | {"otherwise", "feedback", "audits"} <= quoted(text_of("decisions.md"))


def test_every_field_of_feedback_is_documented() -> None:
    assert {bare(row[0]) for row in rows("decisions.md", "Field")} == set(FeedbackRequest.model_fields)


def test_every_error_is_documented() -> None:
    failures = (BadReply(""), CapabilityMiss(""), Misconfigured(""), Overloaded(""), TimedOut(""), Unreachable(""))
    problems = [*map(problem_of, failures), *map(status_problem, (404, 405)), DEADLINE, INTERNAL, UNREADABLE, FULL]

    documented = {(row[0], bare(row[1]), bare(row[2])) for row in rows("api.md", "Status")}

    for problem in problems:
        code = problem.code or ("the server's own" if problem.status == 400 else "null")
        assert (str(problem.status), problem.type, code) in documented


def test_every_limit_is_documented() -> None:
    problems = [limited(Refusal(reason, 1), []).problem for reason in get_args(RefusalReason)]
    problems.append(unavailable().problem)
    shed = {(503, "overloaded_error", code) for code in CODES.values()}

    documented = {(int(row[0]), bare(row[1]), bare(row[2])) for row in rows("api.md", "Status")}

    assert {(problem.status, problem.type, problem.code) for problem in problems} | shed <= documented
    assert {*get_args(RefusalReason), *get_args(ShedReason)} <= quoted(text_of("metrics.md"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_passes_the_check(example: Path) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SMALLFIRST_")}

    done = subprocess.run(  # noqa: S603 - our own program
        [Path(sys.executable).with_name("smallfirst"), "check", example],
        env={**ours, **NEEDED.get(example.name, {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert EXAMPLE_KEY not in done.stdout


def test_every_example_is_listed() -> None:
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")

    assert EXAMPLES
    assert [example.name for example in EXAMPLES if f"({example.name})" not in listed] == []


def test_every_whole_configuration_in_the_docs_can_be_read(tmp_path: Path) -> None:
    wholes = [block for page in sorted(DOCS.rglob("*.md")) for block in blocks("yaml", page) if is_whole(block)]

    for whole in wholes:
        read_settings(written(whole, tmp_path), {})
    assert wholes


def test_the_check_of_the_documented_example_prints_what_is_documented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS / "configuration.md"
    (example,) = filter(is_whole, blocks("yaml", page))

    assert run_check(written(example, tmp_path), {"HOME": "/home/you"}) == 0

    assert capsys.readouterr().out in blocks("text", page)


def text_of(page: str) -> str:
    """A page of the documentation."""
    return (DOCS / page).read_text(encoding="utf-8")


def rows(page: str, first_column: str) -> Iterator[list[str]]:
    """The rows of all tables of a page whose first column has this title."""
    wanted = False
    for line in text_of(page).splitlines():
        if not line.startswith("|"):
            wanted = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == first_column:
            wanted = True
        elif wanted and not set(line) <= set("|-"):
            yield cells


def quoted(text: str) -> set[str]:
    """The words in backquotes."""
    return set(re.findall(r"`([^`\n]*)`", text))


def bare(cell: str) -> str:
    """A cell without its backquotes."""
    return cell.strip("`")


def blocks(language: str, page: Path) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def is_whole(block: str) -> bool:
    """Whether a block of YAML is a configuration, and not a part of one."""
    tree = yaml.safe_load(block)
    return isinstance(tree, dict) and "tiers" in tree


def written(text: str, folder: Path) -> Path:
    """A file of this text."""
    file = folder / "configuration.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def settings() -> Mapping[str, list[FieldInfo]]:
    """Every key; one that several kinds of a section have has a field of each."""
    found: dict[str, list[FieldInfo]] = {}
    for key, field in keys_of(Settings):
        found.setdefault(key, []).append(field)
    return found


def keys_of(section: type[Section], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The dotted path of each key of a section and of those within it; a map's own keys are `<name>`."""
    for name, field in section.model_fields.items():
        yield path + name, field
        for inner, step in sections_in(field.annotation):
            yield from keys_of(inner, f"{path}{name}.{step}")


def sections_in(annotation: object) -> Iterator[tuple[type[Section], str]]:
    """The sections that a key of this type holds, and the path's part between the key and theirs."""
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        yield annotation, ""
        return
    inside = get_origin(annotation)
    step = "<name>." if inspect.isclass(inside) and issubclass(inside, Mapping) else ""
    for argument in get_args(annotation):
        for section, below in sections_in(argument):
            yield section, step + below


def words_of(annotation: object) -> Iterator[str]:
    """The words that a key of this type may be, or hold; not those of sections within it."""
    for argument in get_args(annotation):
        if isinstance(argument, str):
            yield argument
        else:
            yield from words_of(argument)


def default_of(field: FieldInfo) -> str:
    """A key's default as one would write it in the file."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, tuple):
        value = list(value)
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def told(events: tuple[Event, ...]) -> Outcome:
    """The outcome of a request of which all this is true."""
    outcome = Outcome(PAIR)
    for event in events:
        outcome.observe(event)
    return outcome


def overseen() -> Overseen:
    """A cascade of which everything is known that metrics show."""
    drift = Drift(histogram_of([0.5]))
    for _ in range(WINDOW):
        drift.saw(0.5)
    watch = Watch(CERTIFICATE, drift=drift)
    watch.remembers()
    watch.read()
    auditor = Auditor(
        PAIR, {None: watch}, sampling=Sampling(AuditRules(0.1, 1.0), draw=Random(1)),
        comparing=Comparing("exact", str.startswith), has_room=lambda: True, ledger=MemoryLedger(), counting=Metrics(),
    )  # fmt: skip
    told(STORY)
    return Overseen(PAIR, auditor, NOBODY)


def dotted(card: Mapping[str, object], path: str = "") -> Iterator[str]:
    """The paths of its values."""
    for key, value in card.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from dotted(value[0], f"{path}{key}[].")
        elif isinstance(value, dict):
            yield from dotted(value, f"{path}{key}.")
        else:
            yield path + key


def metrics_and_labels() -> dict[str, set[str]]:
    """Every metric that the gateway has, under the name that Prometheus shows, and its labels."""
    metrics = Metrics()
    metrics.began()
    for event in STORY:
        metrics.observe(event, "auto")
    metrics.ended(told(STORY), status=200, elapsed_s=1.0, overhead_s=0.1)
    metrics.refused(400)
    metrics.turned_away("no-key")
    metrics.passed("small", "/v1/embeddings", status=200, usage=Usage(10, 0), cost=0.1)
    metrics.audited("auto", "agreed")
    metrics.audit_cost("auto", "large", 0.1)
    metrics.oversee([overseen()])
    tally = Tally(metrics.registry)
    tally.dropped("full")
    tally.written([Feedback("1", "chatcmpl-1", 0.0)])
    limiting = LimitMetrics(metrics.registry)
    limiting.limited("requests")
    limiting.shed("auto", "full")
    limiting.waited("auto", 0.1)
    limiting.store_failed()
    limiting.watch({"auto": Line(LineRules(1, 1, 1.0), CascadeCounting(limiting, "auto"), time.perf_counter)})
    metrics.watch({"small": Pool((Endpoint("http://small:8000", "m"),), lately_verified)})
    families = [*metrics.registry.collect(), *ParentMetrics().registry.collect()]
    silent = [family.name for family in families if not family.samples]
    assert not silent, f"the story has nothing of {silent}: tell it"
    return {
        family.name + ("_total" if family.type == "counter" else ""): set(family.samples[0].labels) - {"le"}
        for family in families
    }
