"""`smallfirst explain` as a person runs it."""

import asyncio
import re
from pathlib import Path
from typing import get_args

import pytest
from cli.test_commands import run
from fakes.scripted import Script
from fakes.stores import audit, decision, store_of

from router.events import Fallback
from server.cli.decision_page import sentence
from server.store.records import Feedback, Step, new_id

ASK = [{"role": "user", "content": "is it?"}]
FOX = Script("the quick fox", ps=(0.99, 0.7, 0.2))
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


async def test_an_escalated_request_is_explained_token_by_token(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=FOX, large=Script("no it is not"), threshold=0.9, store={"folder": str(tmp_path)})
    answer = await cascade.client.chat.completions.create(model="auto", messages=ASK)

    code, out, err = await run("explain", answer.id, "--url", cascade.url)

    assert (code, err) == (0, "")
    assert "large answered: small was asked first, and its draft was not sure enough" in out
    assert "(confidence 0.5175 < threshold 0.9000, uncalibrated)" in flat(out)
    assert f"response {answer.id}" in out
    assert re.search(r"small +given up: unsure +0\.5175 +-0\.6587 +10 \+ 3 +1\.6e-05", out)
    assert re.search(r"large +answered +10 \+ 4 +0\.00018", out)
    assert "How sure small was, token by token (3)" in out
    assert re.search(r"1 +99% +70% +20%", out)
    assert "least sure: token 3 20%, token 2 70%, token 1 99%" in out
    assert re.search(r"this way +0\.000196\nsmall alone +1\.6e-05\nlarge alone +0\.00018\n", out)
    assert "fox" not in out
    assert "\x1b" not in out


async def test_kept_texts_are_shown_in_the_colours_of_their_tokens(gateway, tmp_path: Path) -> None:
    store = {"folder": str(tmp_path), "texts": True}
    cascade = await gateway(small=FOX, large=Script("no it is not"), threshold=0.9, store=store)
    answer = await cascade.client.chat.completions.create(model="auto", messages=ASK)

    _, out, _ = await run("explain", answer.id, "--url", cascade.url, FORCE_COLOR="1")
    _, plain, _ = await run("explain", answer.id, "--url", cascade.url, FORCE_COLOR="1", NO_COLOR="1")

    assert "\x1b[32mthe\x1b[0m\x1b[33m quick\x1b[0m\x1b[31m fox\x1b[0m" in out
    assert "least sure: token 3 ' fox' 20%" in flat(out)
    assert "The answer\nno it is not" in flat(out, "\n")
    assert not re.search(r"\x1b\[(?:[0-9]+;)*3[0-9]", plain)


async def test_a_kept_draft_is_explained_with_what_was_said_of_it(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script("yes", p=0.9), large=Script("no"), store={"folder": str(tmp_path)})
    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=ASK)
    await cascade.client.post("/feedback", body={"id": raw.headers["x-request-id"], "label": "wrong"}, cast_to=object)

    code, out, _ = await run("explain", raw.headers["x-request-id"], "--url", f"{cascade.url}/")

    assert code == 0
    assert "small answered: its draft was sure enough (confidence 0.9000 >= threshold 0.5000, uncalibrated)" in flat(
        out
    )
    assert re.search(r"small +kept: sure", out)
    assert re.search(r"large alone +about 0\.00012", out)
    assert "feedback: wrong" in out


@pytest.mark.parametrize(
    ("probability", "said", "fate"),
    [
        (0.8, "small answered: its draft was in doubt, and large found it right (verdict 0.8000)", "kept: verdict"),
        (0.3, "its draft was in doubt, and the final tier did not find it right (verdict 0.3000)", "given up: verdict"),
    ],
)
async def test_what_models_said_of_a_draft_is_told(probability: float, said: str, fate: str, tmp_path: Path) -> None:
    accepted = probability > 0.5
    drafted = Step("small", "verdict", 0.6, 0.6, opinions=({"p-true": 0.6, "agreement": 1.0},), verdict=probability)
    one = decision(
        steps=(drafted,) if accepted else (drafted, Step("large")), tier="small" if accepted else "large",
        escalated=not accepted, reason="verdict", confidence=0.6, threshold=0.7, verdict=probability, key="key-1",
    )  # fmt: skip
    await filled(tmp_path, one)

    _, out, _ = await run("explain", one.id, "--store", str(tmp_path))

    assert said in flat(out)
    assert fate in out
    assert "asked about small's draft: p-true 0.6000, agreement 1.0000" in out
    assert f"large finds small's draft right with probability {probability:.4f}" in out
    assert "key key-1" in out


async def test_each_choice_has_its_opinions(tmp_path: Path) -> None:
    one = decision(steps=(Step("small", "sure", opinions=({"p-true": 0.6}, {"p-true": 0.9})),))
    await filled(tmp_path, one)

    _, out, _ = await run("explain", one.id, "--store", str(tmp_path))

    assert "draft, choice 1: p-true 0.6000\n" in out
    assert "draft, choice 2: p-true 0.9000\n" in out


async def test_an_unknown_id_is_told(gateway, tmp_path: Path) -> None:
    cascade = await gateway(small=Script(), large=Script(), store={"folder": str(tmp_path)})

    code, out, err = await run("explain", "chatcmpl-nobody", "--url", cascade.url)

    assert (code, out) == (1, "")
    assert err == "error: id: there is no decision 'chatcmpl-nobody' here\n"


@pytest.mark.parametrize("odd", ["", "../../etc", "a b", "x" * 161, "ünï"])
async def test_what_can_be_no_id_is_told_without_asking_anybody(odd: str) -> None:
    code, out, err = await run("explain", odd, "--url", "http://127.0.0.1:1")

    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "is no id: give a response's" in err


async def test_without_a_gateway_the_store_can_be_read(tmp_path: Path) -> None:
    one = decision(
        steps=(Step("small", "sure", -0.1, 0.9, 10, 1, False, 1e-5, 0.1, 0.1),), confidence=0.9, threshold=0.5,
        confidence_of="right",
    )  # fmt: skip
    fresh = decision(status=503, failure="timeout", tier="large", escalated=True, reason="unsure")
    await filled(tmp_path, one, audit(decision=one.id, loss=True, grader="agreement"))
    left = store_of(tmp_path)
    left.keeper.keep(fresh)
    left.journal.close()

    missing, _, err = await run("explain", one.id, "--url", "http://127.0.0.1:1")
    code, out, _ = await run("explain", one.id, "--store", str(tmp_path))
    in_journal, said, _ = await run("explain", fresh.request_id, "--store", f"sqlite:///{tmp_path}/smallfirst.db")

    assert missing == 1
    assert "no gateway answers at http://127.0.0.1:1: read its store itself with --store FOLDER" in err
    assert code == 0
    assert "(confidence 0.9000 >= threshold 0.5000, right)" in flat(out)
    assert "audit: the draft was a loss (by agreement, drawn with probability 0.1, cost 0.1)" in flat(out)
    assert in_journal == 0
    assert "No answer (status 503): large failed (timeout)." in said


@pytest.mark.parametrize("store", ["nowhere", "sqlite:////nowhere/x.db", "sqlite:///x.db", "postgresql://x/y", "none"])
async def test_a_store_that_is_not_there_is_told(store: str, tmp_path: Path) -> None:
    code, out, err = await run("explain", "x", "--store", store if ":" in store else str(tmp_path / store))

    assert (code, out) == (1, "")
    assert err.startswith("error: ")


async def test_texts_do_not_command_the_terminal(tmp_path: Path) -> None:
    one = decision(task="\x1b[2Jtask")
    await filled(tmp_path, one, Feedback(new_id(), one.id, 1.0, correction="\x1b[31mno\x07[bold]"))

    code, out, _ = await run("explain", one.id, "--store", str(tmp_path))

    assert code == 0
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]" in out


async def test_every_kind_of_ending_has_its_sentence(tmp_path: Path) -> None:
    endings = {
        "The client left while large was asked.": decision(status=499, tier="large"),
        "large answered: it was asked by its name.": decision(tiers=("large",), tier="large", reason="only-tier"),
        "large answered: mode exact.": decision(mode="exact", tier="large", reason="exact"),
        "its gate opened the stream, which it then finished": decision(reason="opened"),
        "its draft came without log-probabilities, and such drafts are kept": decision(reason="no-evidence"),
        "small was asked first, and its servers could not be reached": decision(
            escalated=True, tier="large", reason="unreachable", steps=(Step("small"), Step("large"))
        ),
        "large answered: of the tier before it was known that it cannot take such a request.": decision(
            escalated=True, tier="large", reason="capability"
        ),
    }
    await filled(tmp_path, *endings.values())

    told = await asyncio.gather(*(run("explain", one.id, "--store", str(tmp_path)) for one in endings.values()))

    for ending, (code, out, _) in zip(endings, told, strict=True):
        assert code == 0
        assert ending in flat(out)


@pytest.mark.parametrize("reason", get_args(Fallback))
def test_a_promise_that_could_not_be_kept_is_told_with_its_reason(reason: str) -> None:
    said = sentence(decision(mode="exact", tier="large", reason=reason))

    assert said.startswith("large answered: mode exact, because ")
    assert said.endswith(f" ({reason}).")


async def filled(folder: Path, *records) -> None:
    """A store that has these."""
    store = store_of(folder)
    for record in records:
        assert store.keeper.keep(record)
    await store.close()


def flat(out: str, between: str = " ") -> str:
    """The page without colours, its lines put together."""
    return between.join(line.strip() for line in COLOUR.sub("", out).splitlines())
