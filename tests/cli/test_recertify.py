"""`smallfirst recertify`, as an operator types it: over a real store, and from a gateway to the next."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from cli.test_commands import run
from fakes.gateway import running_app
from fakes.scripted import Script, ScriptedServer
from fakes.stores import audit, count, store_of, until
from fakes.trusting import certificate, fit, trust

from router.alarm import Stretch, folded
from router.lab.certifying import delta_of_round
from router.trust import Trust, trust_of, trust_written
from server.app import create_app
from server.cli.check import run_check
from server.cli.recertify import run_recertify
from server.settings.reading import read_settings
from server.store.records import Audit

TODAY = datetime.now(UTC).date()
FIRST = certificate(0.6, loss="disagreement", epsilon=0.1, certified_on=TODAY - timedelta(days=20))
TRUST = trust(certified=FIRST)
MESSAGES = [{"role": "user", "content": "is it?"}]


def configured(folder: Path, written: Trust | None = TRUST, **cascade: Any) -> Path:
    """A configuration with this artefact, and a store beside it."""
    if written is not None:
        (folder / "trust.json").write_bytes(trust_written(written))
    auto = {"tiers": ["small", "large"], "mode": "certified", "trust": "trust.json", **cascade}
    tree = {
        "tiers": {
            name: {"model": "scripted", "price": {"input": 1, "output": 2}, "urls": [f"http://127.0.0.1:{port}"]}
            for port, name in enumerate(("small", "large"), 1)
        },
        "cascades": {"auto": {key: value for key, value in auto.items() if value is not None}},
        "store": {"folder": "store"},
    }
    (folder / "pair.yaml").write_text(yaml.safe_dump(tree))
    return folder / "pair.yaml"


def kept(number: int, *, losses: int = 0, of: Trust = TRUST, **changed: Any) -> Iterator[Audit]:
    """Audits of an artefact's drafts, as sure as they come; the losses are those of the least sure."""
    for place in (37 * drawn % number for drawn in range(number)):
        fields = {
            "artefact": of.identity, "grader": "exact", "propensity": 0.5, "exposure": 1.0, "unseen": 0.0,
            "threshold": 0.6, "confidence": 0.6 + 0.39 * place / number, "loss": place < losses, "final_tokens": 3,
            "time": time.time() - 3600.0,
        }  # fmt: skip
        yield audit(**{**fields, **changed})


def filled(folder: Path, *audits: Audit) -> None:
    """A store with these, as a gateway that has ended leaves it."""

    async def fill() -> None:
        store = store_of(folder / "store")
        for one in audits:
            assert store.keeper.keep(one)
        await store.drain()
        await store.close()

    asyncio.run(fill())


@dataclass(frozen=True)
class Command:
    """The command over a folder's configuration."""

    folder: Path
    heard: pytest.CaptureFixture[str]

    def __call__(
        self,
        cascade: str | None = None,
        *,
        out: str | None = None,
        epsilon: float | None = None,
        tasks: Sequence[str] = (),
    ) -> tuple[int, str, str]:
        """Its code, and what it said and complained of."""
        file = None if out is None else self.folder / out
        config = self.folder / "pair.yaml"
        code = run_recertify(config, cascade, epsilon=epsilon, out=file, environment={}, tasks=tasks)
        said = self.heard.readouterr()
        return code, said.out, said.err


@pytest.fixture
def recertified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


def test_quiet_audits_renew_the_certificate(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200))

    code, said, error = recertified("auto", out="next.json")

    assert (code, error) == (0, "")
    assert f"auto: round 2, from 200 audits of artefact {TRUST.identity}" in said
    assert "certified: disagreement <= 0.1 with probability 0.9848, by exact, at threshold 0.6, which accepts" in said
    assert "before: disagreement <= 0.1 with probability 0.9, at threshold 0.6" in said
    made = trust_of((tmp_path / "next.json").read_bytes())
    renewed = made.fit.certificate
    assert (renewed.round, renewed.renewal.renewed_from, renewed.threshold) == (2, TRUST.identity, 0.6)
    assert renewed.delta == pytest.approx(delta_of_round(0.1, 2))
    assert renewed.expires_on > FIRST.expires_on
    assert made.identity != TRUST.identity
    assert made.model_copy(update={"fit": TRUST.fit}) == TRUST, "nothing else is changed"


def test_without_a_file_it_only_says_what_would_be(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200))

    code, said, _ = recertified()

    assert code == 0
    assert "nothing is written: name a file with --out" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pair.yaml", "store", "trust.json"]


def test_the_same_audits_make_the_same_artefact_which_may_replace_the_old(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200))

    for name in ("a.json", "b.json", "trust.json"):
        assert (recertified(out=name))[0] == 0

    assert len({(tmp_path / name).read_bytes() for name in ("a.json", "b.json", "trust.json")}) == 1
    assert run_check(tmp_path / "pair.yaml", {}) == 0


def test_losses_among_the_least_sure_raise_the_threshold_and_that_is_said(tmp_path: Path, recertified: Command) -> None:
    of = epsilon_free(0.05)
    configured(tmp_path, of)
    filled(tmp_path, *kept(600, losses=12, of=of), *kept(8, of=of, loss=None, confidence=0.65))

    code, said, _ = recertified(out="next.json")

    assert code == 0
    assert "12 disagreed, 8 failed or could not be told" in said
    assert "the threshold is higher than before; to keep it, " in said
    assert trust_of((tmp_path / "next.json").read_bytes()).fit.certificate.threshold > 0.6


def epsilon_free(epsilon: float) -> Trust:
    """The artefact with another promise."""
    return trust(certified=FIRST.model_copy(update={"epsilon": epsilon}))


def test_too_few_audits_say_how_many_more(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(20))

    code, said, error = recertified(out="next.json")

    assert (code, said) == (1, "")
    assert "disagreement <= 0.1 is not shown yet at delta 0.0152" in error
    assert "more audits would do at this rate of losses" in error
    assert not (tmp_path / "next.json").exists()


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"artefact": "another"}, "200 are of other artefacts or modes, 0 by other graders than exact"),
        ({"artefact": None}, "200 are of other artefacts or modes"),
        ({"grader": "json"}, "0 are of other artefacts or modes, 200 by other graders than exact"),
        ({"cascade": "other"}, "of the 0 audits in the store none"),
    ],
)
def test_audits_of_something_else_are_not_used(
    tmp_path: Path, recertified: Command, changed: dict[str, Any], found: str
) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200, **changed))

    code, _, error = recertified()

    assert code == 1
    assert found in error
    assert "serve it in mode 'certified', with audits on" in error


@pytest.mark.parametrize(
    "changed",
    [{"unseen": None}, {"threshold": None}, {"exposure": None}, {"unseen": 1.0}, {"exposure": -5.0}],
    ids=["an earlier version's", "no threshold", "no exposure", "nothing seen", "odd"],
)
def test_exposure_that_is_not_sure_certifies_nothing(
    tmp_path: Path, recertified: Command, changed: dict[str, Any]
) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200, **changed))

    code, _, error = recertified()

    assert code == 1
    assert "in an exposure of 0.0" in error


def test_what_failed_counts_as_lost(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200, confidence=0.9), *kept(60, confidence=0.9, loss=None, final_tokens=None))

    code, _, error = recertified()

    assert code == 1
    assert "60 of 260 audits count as losses" in error


def test_an_alarm_is_not_forgotten_by_quiet_audits_before_it(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(2_000), *kept(60, losses=60, confidence=0.9))

    code, _, error = recertified()

    assert code == 1
    assert "the certificate's alarm has sounded" in error
    assert "record fresh questions, and tune" in error


def test_neither_is_a_warning(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    quiet, late = [*kept(300)], [*kept(20, losses=20, confidence=0.9)]
    stretches = [Stretch(1.0, 0.5, one.loss) for one in (*quiet, *late)]
    number = next(number for number in range(20) if folded(stretches[: 300 + number], 0.1).warns)
    assert not folded(stretches[: 300 + number], 0.1).sounds

    filled(tmp_path, *quiet, *late[: number - 1])
    assert recertified()[0] == 0
    filled(tmp_path, late[number - 1])
    code, _, error = recertified()

    assert code == 1
    assert "a renewal would forget that: wait until it falls, or the alarm sounds" in error


def test_a_certificate_of_regret_asks_what_is_to_be_promised_instead(tmp_path: Path, recertified: Command) -> None:
    regret = trust(certified=certificate(0.6, audited_by="exact", disagreement=0.2))
    configured(tmp_path, regret)
    filled(tmp_path, *kept(200, of=regret))

    code, _, error = recertified()
    done, said, _ = recertified(epsilon=0.15)

    assert code == 2
    assert "of regret <= 0.02, which audits cannot see: say with --epsilon how much disagreement" in error
    assert "0.02 promises no less than before, 0.2 is what audits have watched for" in error
    assert done == 0
    assert "certified: disagreement <= 0.15" in said
    assert "before: regret <= 0.02" in said


def test_audits_that_are_too_old_renew_nothing(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200, time=time.time() - 91 * 86_400.0))

    code, _, error = recertified()

    assert code == 1
    assert "a certificate from them would have expired on" in error


BY_TASK = trust(certified=FIRST, clusters={"sums": fit(threshold=0.6, certified=FIRST),
                                           "prose": fit(threshold=0.6, certified=FIRST)})  # fmt: skip


def test_certificates_by_task_are_renewed_each_from_its_own_audits(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path, BY_TASK)
    filled(tmp_path, *kept(200, of=BY_TASK, cluster="sums"), *kept(300, of=BY_TASK, cluster="prose"),
           *kept(50, of=BY_TASK))  # fmt: skip

    code, said, error = recertified(out="next.json")

    assert (code, error) == (0, "")
    assert "auto, sums: round 2, from 200 audits" in said
    assert "auto, prose: round 2, from 300 audits" in said
    made = trust_of((tmp_path / "next.json").read_bytes())
    assert [fit.certificate.renewal.exposure for fit in made.clusters.values()] == [200.0, 300.0]
    assert made.fit == BY_TASK.fit, "with certificates by task it serves nothing"


def test_a_task_with_too_few_audits_is_left_out_by_naming_the_others(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path, BY_TASK)
    filled(tmp_path, *kept(200, of=BY_TASK, cluster="sums"), *kept(5, of=BY_TASK, cluster="prose"))

    code, _, error = recertified(out="next.json")
    assert code == 1
    assert "prose: disagreement <= 0.1 is not shown yet" in error

    code, said, _ = recertified(out="next.json", tasks=["sums"])
    assert code == 0
    assert f"prose: keeps its certificate, until {FIRST.expires_on}; its audits are counted anew" in said
    made = trust_of((tmp_path / "next.json").read_bytes())
    assert made.clusters["prose"] == BY_TASK.clusters["prose"]
    assert made.clusters["sums"].certificate.round == 2


def test_an_alarm_of_one_task_keeps_all_from_being_renewed(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path, BY_TASK)
    filled(tmp_path, *kept(200, of=BY_TASK, cluster="sums"), *kept(60, losses=40, of=BY_TASK, cluster="prose"))

    code, _, error = recertified(tasks=["sums"])

    assert code == 1
    assert "prose: the certificate's alarm has sounded" in error


@pytest.mark.parametrize(
    ("written", "cascade", "option", "mistake"),
    [
        (TRUST, {}, {"cascade": "otto"}, "there is no cascade 'otto' (there are: auto)"),
        (TRUST, {}, {"epsilon": 1.5}, "epsilon and delta are above 0 and below 1, not 1.5"),
        (None, {"trust": None, "mode": "exact"}, {}, "there is no artefact in trust: make one with `smallfirst tune`"),
        (trust(), {"mode": "threshold"}, {}, "no certificate: `smallfirst tune --epsilon` makes the first one"),
        (trust(certified=certificate(0.6)), {}, {}, "no audits watch the certificate: tune again with --audit-grader"),
        (trust(certified=FIRST, clusters={"sums": fit(certified=FIRST)}), {}, {"tasks": ["prose"]},
         "the artefact has no certificate for 'prose' (there are: sums)"),
        (TRUST, {}, {"tasks": ["sums"]}, "the artefact has no certificates by task: leave --task out"),
        (TRUST, {"checks": ["empty"]}, {}, "it was certified with the checks"),
    ],
    ids=["cascade", "no share", "no artefact", "no certificate", "unwatched", "no such task", "no tasks", "checks"],
)  # fmt: skip
def test_what_cannot_be_renewed_is_told_in_a_line(
    tmp_path: Path,
    recertified: Command,
    written: Trust | None,
    cascade: dict[str, Any],
    option: dict[str, Any],
    mistake: str,
) -> None:
    configured(tmp_path, written, **cascade)

    code, _, error = recertified(**option)

    assert code == 2
    assert mistake in error
    assert "Traceback" not in error


@pytest.mark.parametrize("content", [None, b"no database at all" * 100], ids=["gone", "broken"])
def test_a_store_that_cannot_be_read_is_told(tmp_path: Path, recertified: Command, content: bytes | None) -> None:
    configured(tmp_path)
    if content is not None:
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "smallfirst.db").write_bytes(content)

    code, _, error = recertified()

    assert code == 1
    assert "the store cannot be read" in error
    assert "Traceback" not in error


def test_a_file_that_cannot_be_written_is_told_and_the_old_one_stays(tmp_path: Path, recertified: Command) -> None:
    configured(tmp_path)
    filled(tmp_path, *kept(200))

    code, _, error = recertified(out="no/such/folder.json")

    assert code == 2
    assert "No such file or directory" in error
    assert trust_of((tmp_path / "trust.json").read_bytes()) == TRUST


def test_two_cascades_must_be_told_apart(tmp_path: Path, recertified: Command) -> None:
    config = configured(tmp_path)
    tree = yaml.safe_load(config.read_text())
    tree["cascades"]["other"] = tree["cascades"]["auto"]
    config.write_text(yaml.safe_dump(tree))

    code, _, error = recertified()

    assert code == 2
    assert "say which cascade: smallfirst recertify CONFIG CASCADE (there are: auto, other)" in error


@asynccontextmanager
async def gateway(config: Path, small: ScriptedServer, large: ScriptedServer) -> AsyncIterator[openai.AsyncOpenAI]:
    """What an operator runs, of which every accepted draft is audited."""
    urls = {f"SMALLFIRST_TIERS__{name.upper()}__URLS": json.dumps([one.url]) for name, one in
            (("small", small), ("large", large))}  # fmt: skip
    async with (
        running_app(create_app(read_settings(config, urls))) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):
        yield client


async def served(config: Path, number: int, small: ScriptedServer, large: ScriptedServer) -> tuple[str, str]:
    """Mode and tier of the last of so many answers, when all are audited that are drafts."""
    before = count(config.parent / "store", "audits")
    async with gateway(config, small, large) as client:
        for asked in range(1, number + 1):
            raw = await client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
            needed = max(1, asked - 8)  # until it is known what an audit costs, there is one at a time
            await until(lambda needed=needed: count(config.parent / "store", "audits") - before >= needed)
        await until(lambda: count(config.parent / "store", "audits") - before == number)
    return raw.headers["x-smallfirst-mode"], raw.headers["x-smallfirst-tier"]


async def test_from_a_gateways_audits_to_the_next_gateways_certificate_and_on(tmp_path: Path) -> None:
    audits = {"rate": 1.0, "spend_per_day": 1.0}
    config = configured(tmp_path, epsilon_free(0.4), audits=audits)

    async with ScriptedServer(Script("yes", p=0.9)) as small, ScriptedServer(Script("yes")) as large:
        identities = []
        for number in (2, 3):
            needed = math.ceil(8 / 0.4)
            assert await served(config, needed, small, large) == ("certified", "small")
            before = trust_of((tmp_path / "trust.json").read_bytes())
            code, said, error = await run("recertify", str(config), "auto", "--out", str(tmp_path / "trust.json"))
            assert (code, error) == (0, "")
            assert f"round {number}, from {needed} audits of artefact {before.identity}" in " ".join(said.split())
            identities.append(before.identity)
        assert await served(config, 1, small, large) == ("certified", "small")

    last = trust_of((tmp_path / "trust.json").read_bytes()).fit.certificate
    assert (last.round, last.renewal.after, last.renewal.until) == (3, 20, 40)
    assert last.renewal.exposure == pytest.approx(20.0), "what a process may have lost at its end is not counted"
    assert last.renewal.renewed_from == identities[1] != identities[0]
