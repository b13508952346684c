"""Scorers that read texts: what the gateway finds in a draft is what the lab finds in the record of it."""

import json
from dataclasses import replace

import pytest
from fakes.scripted import Script
from fakes.trusting import CHECKS, fit, gate_of, trust

from router.features import TOKEN_FEATURES
from router.graders import grader_of
from router.lab.examples import examples_of
from router.lab.judged import confidences
from router.lab.outcomes import Recorded
from router.policy import Policy
from router.scorers import SCORERS
from router.text_features import LONGEST, TEXT_FEATURES
from router.trust import Trust
from server.settings.schema import Settings

ASKED = "A shelf has 12 books, 2.5 a box.\nWhich is it?\nA. thirty\nB. 4.5 metres\nC. none of them"
SAID = "Thirty might be likely. 12 + 3 = 15, 2 + 2 = 5. However, none of them fits. No. No. The answer is (B)."
SMALL, LARGE = Script(SAID, ps=(0.9, 0.6, 0.8)), Script("the large one")
MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": [{"type": "text", "text": ASKED}]}]  # fmt: skip


def fitted(*names: str, weight: float = 0.1, answer_by: str | None = "choice") -> Trust:
    """An artefact whose scorer adds these features up."""
    scorer = {"kind": "logistic", "names": names, "weights": [weight] * len(names), "intercept": 0.2,
              "answer_by": answer_by}  # fmt: skip
    return trust(fit={**fit(threshold=0.0), "scorer": scorer})


async def record_of(cascade, messages: list[dict]) -> Recorded:
    """The draft as `smallfirst record` would keep it."""
    raw = await cascade.client.chat.completions.with_raw_response.create(
        model="small", messages=messages, logprobs=True, top_logprobs=5
    )
    reply = json.loads(raw.text)
    output = {"model": "scripted", "text": reply["choices"][0]["message"]["content"], "reply": reply}
    return Recorded.model_validate({"id": "1", "request": {"messages": messages}, "outputs": {
        "small": output, "large": {"model": "scripted", "text": "x"}}})  # fmt: skip


def judged_in_the_lab(question: Recorded, made: Trust) -> float:
    """The confidence that the lab has in the draft."""
    scorer = made.fit.judging
    policy = Policy("threshold", SCORERS["mean-logprob"], 0.0, CHECKS, "escalate")
    (example,) = examples_of(
        [question], ("small", "large"), policy, grader_of("exact"), reads_tokens=scorer.reads_tokens
    )
    return float(confidences([example.evidence], scorer)[0])


@pytest.mark.parametrize("name", [*TOKEN_FEATURES, *TEXT_FEATURES])
async def test_every_feature_is_the_same_in_the_lab_and_on_the_way_of_a_request(gateway, name: str) -> None:
    made = fitted(name)
    cascade = await gateway(small=SMALL, large=LARGE, trust=made, threshold=None)

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.headers["x-smallfirst-tier"] == "small"
    in_the_lab = judged_in_the_lab(await record_of(cascade, MESSAGES), made)
    assert float(raw.headers["x-smallfirst-confidence"]) == pytest.approx(in_the_lab, abs=1e-6)
    assert in_the_lab != pytest.approx(judged_in_the_lab(await record_of(cascade, MESSAGES), fitted()), abs=1e-6)


async def test_a_scorer_of_text_alone_needs_no_log_probabilities(gateway) -> None:
    made = fitted("text-length")
    cascade = await gateway(small=replace(SMALL, logprobs=False), large=LARGE, trust=made, threshold=None)

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.headers["x-smallfirst-reason"] == "sure"
    in_the_lab = judged_in_the_lab(await record_of(cascade, MESSAGES), made)
    assert float(raw.headers["x-smallfirst-confidence"]) == pytest.approx(in_the_lab, abs=1e-6)


async def test_a_stream_of_a_scorer_that_reads_texts_is_held(gateway) -> None:
    cascade = await gateway(small=SMALL, large=LARGE, trust=fitted("text-length"), threshold=None)

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])

    assert text == SAID
    assert raw.headers["x-smallfirst-reason"] == "sure", "judged before its first byte"


async def test_each_draft_of_a_text_completion_is_read_beside_its_own_prompt(gateway) -> None:
    made = fitted("text-prompt-numbers-used", weight=1.0)
    cascade = await gateway(small=Script("7 and 8"), large=LARGE, trust=made, threshold=None)

    seen = []
    for prompts in (["7 8", "7 9"], ["7 9", "7 8"], ["7 8", "7 8"]):
        raw = await cascade.client.completions.with_raw_response.create(model="auto", prompt=prompts, n=2)
        seen.append(float(raw.headers["x-smallfirst-confidence"]))

    assert seen[0] == seen[1] < seen[2], "the least sure one counts"


async def test_of_a_very_long_question_the_end_is_read(gateway) -> None:
    made = fitted("text-prompt-numbers-used", weight=1.0)
    cascade = await gateway(small=Script("7 and 8"), large=LARGE, trust=made, threshold=None)

    seen = []
    for asked in ("5 6 " * 55_000 + "." * LONGEST + " 7 8", "." * LONGEST + " 7 8"):
        raw = await cascade.client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": asked}]
        )
        seen.append(raw.headers["x-smallfirst-confidence"])

    assert seen[0] == seen[1]


def test_streams_that_open_early_and_scorers_of_text_are_not_had_together() -> None:
    made = fitted("text-length").model_copy(update={"gate": gate_of(24)})
    tier = {"model": "scripted", "price": {"input": 1, "output": 2}, "urls": ["http://127.0.0.1:1"]}
    cascade = {"tiers": ["small", "large"], "trust": made, "stream": {"on_doubt": "continue"}}

    with pytest.raises(ValueError, match=r"the artefact's scorer reads the texts of whole drafts: use 'hold'"):
        Settings.model_validate({"tiers": {"small": tier, "large": tier}, "cascades": {"auto": cascade}})
