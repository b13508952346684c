"""Comparing policies on recorded questions, without any model."""

import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from fakes.recordings import TOKENS, recorded
from fakes.trusting import certificate, fit, trust

from router.clusters import Centroids
from router.lab.candidates import Candidate, artefact_candidates, judging_candidate, recorded_candidates
from router.lab.costs import costs_of
from router.lab.evaluation import Evaluated, Evaluation, Wanted, evaluate, right_of
from router.lab.fitted_candidates import NothingToFit, fitted_candidates
from router.lab.outcomes import BadRecord, Recorded
from router.lab.report import Read, as_json, headlines, page
from router.lab.selection import CannotEvaluate, Roles, usable
from router.skipping import PromptGain

PAIR = Roles("small", "large")
HELPED = Roles("small", "large", "helper")
FEW_DRAWS = Wanted(draws=100)


def question(name: str, *, small: bool, large: bool, **draft: Any) -> Recorded:
    """One, graded; and more of its draft."""
    outputs = {"small": {"model": "s", "correct": small, **draft}, "large": {"model": "l", "correct": large}}
    return Recorded.model_validate({"id": name, "outputs": outputs})


def with_confidence(count: int = 200, *, final_right: float = 1.0) -> list[Recorded]:
    """Questions whose drafts are right as often as their confidence says."""
    chance = np.random.default_rng(5)
    confidences = chance.random(count)
    return [
        question(str(place), small=bool(chance.random() < one), large=bool(chance.random() < final_right),
                 confidence=float(one))
        for place, one in enumerate(confidences)
    ]  # fmt: skip


def evaluation_of(
    questions: list[Recorded], *candidates: Candidate, roles: Roles = PAIR, wanted: Wanted = FEW_DRAWS
) -> Evaluation:
    """Of these candidates, or of those that the questions allow."""
    compared = candidates or tuple(recorded_candidates(questions, roles))
    return evaluate(questions, roles, compared, costs_of(questions, roles.names, {}, ratio=9), wanted)


def by_name(evaluation: Evaluation) -> dict[str, Evaluated]:
    """Its policies."""
    return {one.name: one for one in evaluation.policies}


def test_a_calibrated_confidence_is_told_to_be_one() -> None:
    evaluation = evaluation_of(with_confidence(3000))

    (one,) = evaluation.policies
    assert one.name == "recorded confidence"
    assert one.measures["apgr"].low > 0.6
    assert one.measures["auroc_right"].estimate == pytest.approx(0.83, abs=0.03)
    assert one.measures["auroc_right"] == one.measures["auroc_gain"]
    assert one.ece < 2 * one.ece_by_chance
    assert one.reliability.said == pytest.approx(one.reliability.happened, abs=0.1)


def test_the_cost_is_a_share_of_the_final_tiers_alone() -> None:
    evaluation = evaluation_of(with_confidence())

    (one,) = evaluation.policies
    assert one.curve.cost[0] == pytest.approx(1 / 9)
    assert one.curve.cost[-1] == pytest.approx(1 + 1 / 9)
    assert evaluation.at_random.quality_for(1 / 9) == pytest.approx(evaluation.tiers[0].right)
    assert evaluation.at_random.quality_for(7.0) == evaluation.tiers[1].right


def test_the_point_that_keeps_the_quality_beats_as_many_at_random() -> None:
    evaluation = evaluation_of(with_confidence(1000), wanted=Wanted(quality_kept=0.9, draws=200))

    kept = evaluation.policies[0].keeping
    assert kept is not None
    assert 0.9 <= kept.kept < 0.91
    assert kept.point.quality > kept.control.quality.high
    assert kept.point.quality > kept.quality_for_cost


def test_the_helpers_answer_costs_what_it_costs_and_tells_what_it_tells() -> None:
    questions = [
        Recorded.model_validate({"id": str(place), "outputs": {
            "small": {"model": "s", "correct": place % 4 != 0, "answer": "7", "text": "7 7"},
            "large": {"model": "l", "correct": True, "text": "seven"},
            "helper": {"model": "h", "answer": "7" if place % 4 else "8", "text": "77"},
        }})
        for place in range(100)
    ]  # fmt: skip

    evaluation = evaluation_of(questions, roles=HELPED)

    (agreement,) = evaluation.policies
    assert agreement.name == "agreement"
    assert agreement.measures["auroc_right"].estimate == 1.0
    assert agreement.keeping is not None
    assert agreement.keeping.point.escalated == 0.25
    assert agreement.curve.cost[0] == pytest.approx((3 + 2) / (9 * 5))
    assert evaluation.tiers[2].right is None


def test_tokens_are_scored_and_drafts_that_fail_a_check_escalate() -> None:
    questions = recorded(60)
    cut = questions[0].model_dump()
    cut["outputs"]["small"]["reply"]["choices"][0]["finish_reason"] = "length"
    questions[0] = Recorded.model_validate(cut)
    without = questions[1].model_dump(exclude_none=True)
    del without["outputs"]["small"]["reply"]
    questions[1] = Recorded.model_validate(without)

    scored = {one.name: one for one in recorded_candidates(questions, PAIR)}

    assert list(scored) == ["mean-logprob", "low-quantile-logprob", "min-logprob", "margin", "entropy"]
    assert all(one.confidence[:2].tolist() == [-1.0, -1.0] for one in scored.values())
    assert all((one.confidence[2:] >= 0).all() for one in scored.values())
    assert by_name(evaluation_of(questions))["margin"].scored == pytest.approx(58 / 60)


def test_scorers_that_read_alternatives_are_left_out_where_there_are_none() -> None:
    questions = []
    for one in recorded(5):
        dumped = one.model_dump()
        for token in dumped["outputs"]["small"]["reply"]["choices"][0]["logprobs"]["content"]:
            del token["top_logprobs"]
        questions.append(Recorded.model_validate(dumped))

    assert {one.name for one in recorded_candidates(questions, PAIR)} == {
        "mean-logprob", "low-quantile-logprob", "min-logprob",
    }  # fmt: skip


def test_a_draft_without_confidence_is_accepted_at_no_threshold() -> None:
    questions = [question(str(place), small=True, large=True, confidence=0.5) for place in range(9)]

    (one,) = evaluation_of([*questions, question("bare", small=True, large=True)], wanted=Wanted(draws=100)).policies

    assert one.scored == 0.9
    assert one.keeping is not None
    assert one.keeping.point.threshold == 0.5
    assert one.keeping.point.escalated == 0.1


def test_an_artefact_judges_as_it_would_in_production() -> None:
    questions = recorded(300)

    judged = judging_candidate(questions, PAIR, trust(threshold=0.7, certified=certificate(0.9)))

    plain = {one.name: one for one in recorded_candidates(questions, PAIR)}["min-logprob"]
    evaluated = by_name(evaluation_of(questions, plain, judged))["artefact"]
    assert judged.confidence == pytest.approx(plain.confidence)
    assert {name: own.point.escalated for name, own in evaluated.own.items()} == pytest.approx(
        {"at its own threshold": (plain.confidence < 0.7).mean(),
         "at its certified threshold": (plain.confidence < 0.9).mean()}
    )  # fmt: skip
    assert evaluated.differences["apgr"].estimate == pytest.approx(0.0)


def test_an_artefact_that_tells_kinds_from_words_judges_so_whatever_a_question_is_named() -> None:
    words = Centroids(floor=0.0, unit=1.0, rarity=(1,), centroids={"all": (1,)})
    clusters = {"all": fit("mean-logprob"), "sums": fit()}
    questions = recorded(20)

    judged = judging_candidate(questions, PAIR, trust(clusters=clusters, words=words))

    plain = {one.name: one for one in recorded_candidates(questions, PAIR)}["mean-logprob"]
    assert judged.confidence == pytest.approx(plain.confidence)


def test_an_artefact_that_asks_what_was_not_recorded_is_refused() -> None:
    asking = {"kind": "logistic", "names": ("verdict-of-an-oracle",), "weights": (1.0,), "intercept": 0.0}

    with pytest.raises(BadRecord, match="the artefact reads 'verdict-of-an-oracle'"):
        judging_candidate(recorded(3), PAIR, trust(fit={**fit(), "scorer": asking}))


def test_an_artefact_may_read_texts_and_agreement() -> None:
    reading = {"kind": "logistic", "names": ("agreement", "text-length"), "weights": (2.0, -1.0), "intercept": 0.5}
    questions = [
        one.model_copy(update={"outputs": {**one.outputs, "helper": one.outputs["large"]}}) for one in recorded(5)
    ]

    judged = judging_candidate(questions, HELPED, trust(fit={**fit(), "scorer": reading}))

    assert judged.asks_helper
    assert judged.confidence == pytest.approx(1 / (1 + math.exp(math.log1p(len("ab " * TOKENS)) - 0.5)))


def test_an_artefact_that_skips_is_compared_before_generation_too() -> None:
    questions = recorded(20)
    skip = {"intercept": 0.2, "unit": 0.1, "weights": (1, -1)}

    _, skipping = artefact_candidates(questions, PAIR, trust(skip=skip))

    assert skipping.before_generation
    assert skipping.confidence.tolist() == [
        PromptGain.model_validate(skip).confidence(f"question {place}") for place in range(20)
    ]


def test_thresholds_that_differ_by_task_are_not_told_as_one() -> None:
    parts = {"a": fit(threshold=0.4), "b": fit(threshold=0.6)}

    assert judging_candidate(recorded(3), PAIR, trust(clusters=parts)).thresholds == {}


def test_what_is_fitted_is_not_fitted_on_what_it_judges() -> None:
    chance = np.random.default_rng(1)
    questions = [
        question(str(place), small=bool(chance.random() < 0.5), large=True, text=f"{chance.random()}")
        for place in range(400)
    ]

    found = {
        one.name: one
        for one in fitted_candidates(questions, PAIR, right_of(questions, "small"), right_of(questions, "large"))
    }

    assert list(found) == ["fitted on text"]
    assert evaluation_of(questions, found["fitted on text"]).policies[0].measures["apgr"].low < 0.5


def test_a_policy_before_generation_spares_the_draft() -> None:
    questions = with_confidence()
    candidate = Candidate("before", np.linspace(0, 1, len(questions)), before_generation=True)

    (one,) = evaluation_of(questions, candidate).policies

    assert one.curve.cost[0] == pytest.approx(1 / 9)
    assert one.curve.cost[-1] == pytest.approx(1.0)


def test_too_few_to_fit_is_told() -> None:
    questions = [question(str(place), small=True, large=True, text="yes") for place in range(30)]

    with pytest.raises(NothingToFit, match="at least 5 drafts of either kind"):
        list(fitted_candidates(questions, PAIR, right_of(questions, "small"), right_of(questions, "large")))


def test_questions_that_were_not_graded_or_not_answered_are_left_out() -> None:
    whole = question("whole", small=True, large=True)
    ungraded = question("ungraded", small=True, large=True).model_dump(exclude_none=True)
    del ungraded["outputs"]["large"]["correct"]
    unanswered = question("unanswered", small=True, large=True).model_dump()
    del unanswered["outputs"]["large"]

    assert usable([whole, *map(Recorded.model_validate, (ungraded, unanswered))], PAIR) == [whole]
    with pytest.raises(CannotEvaluate, match="none of 1 questions has graded answers"):
        usable([Recorded.model_validate(ungraded)], PAIR)
    with pytest.raises(CannotEvaluate, match=r"no question has an answer of 'large' \(there are: small\)"):
        usable([Recorded.model_validate(unanswered)], PAIR)
    with pytest.raises(CannotEvaluate, match=r"\(there are: none\)"):
        usable([], PAIR)
    with pytest.raises(CannotEvaluate, match="question 'whole' comes twice"):
        usable([whole, whole], PAIR)


def test_what_cannot_be_compared_is_told() -> None:
    questions = with_confidence(20)

    with pytest.raises(CannotEvaluate, match="no policy to compare"):
        evaluation_of([question("a", small=True, large=True)])
    with pytest.raises(CannotEvaluate, match=r"no policy 'x' \(there are: recorded confidence\)"):
        evaluation_of(questions, wanted=Wanted(baseline="x"))
    with pytest.raises(CannotEvaluate, match="in"):
        evaluation_of(questions, wanted=Wanted(quality_kept=math.nan))


DEGENERATE = {
    "all right": [question(str(n), small=True, large=True, confidence=n / 9) for n in range(9)],
    "all wrong": [question(str(n), small=False, large=False, confidence=n / 9) for n in range(9)],
    "final tier worse": [question(str(n), small=True, large=n > 4, confidence=0.5) for n in range(9)],
    "one question": [question("one", small=False, large=True, confidence=0.3)],
    "one confidence": [question(str(n), small=n > 4, large=True, confidence=0.5) for n in range(9)],
}


@pytest.mark.parametrize("questions", DEGENERATE.values(), ids=DEGENERATE)
def test_what_is_undefined_is_told_as_nothing_and_everything_else_is_there(questions: list[Recorded]) -> None:
    evaluation = evaluation_of(questions)
    read = Read(("q.jsonl",), 0, ())

    said = json.loads(as_json(evaluation, read))

    assert said["evaluation"]["questions"] == len(questions)
    assert "NaN" not in as_json(evaluation, read).decode()
    assert Page.of(page(evaluation, read)).open == []
    assert all(headlines(evaluation))


class Page(HTMLParser):
    """What a browser would find in a page: elements that are not closed, ids, and what it would fetch."""

    EMPTY = frozenset({"meta", "br", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.text = ""

    @classmethod
    def of(cls, html: str) -> "Page":
        """The whole of one."""
        read = cls()
        read.feed(html)
        read.close()
        return read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        told = dict(attrs)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.ids += [told["id"] or ""] if "id" in told else []
        self.fetched += [
            told[name] or "" for name in ("src", "href", "xlink:href") if not (told.get(name) or "#").startswith("#")
        ]
        self.fetched += [tag] if tag in ("script", "link", "iframe", "image") else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends, the one that was opened last."""
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data


def test_the_report_is_one_whole_page_that_fetches_nothing() -> None:
    questions = recorded(300)
    fitted = fitted_candidates(questions, PAIR, right_of(questions, "small"), right_of(questions, "large"))
    compared = [
        *recorded_candidates(questions, PAIR),
        *artefact_candidates(questions, PAIR, trust(threshold=0.7)),
        *fitted,
    ]

    html = page(evaluation_of(questions, *compared), Read(("q.jsonl",), 3, ("a note",)))

    found = Page.of(html)
    assert found.open == []
    assert found.fetched == []
    assert len(found.ids) == len(set(found.ids))
    assert {"min-logprob", "artefact", "fitted on text", "a note"} <= set(re.split(r"\n *", found.text))
    assert html.count("<svg") == 4
    assert html.count('role="img"') == 4
    assert not re.search(r"url\((?!#)|@import|http://(?!www\.w3\.org/)|https://", html)
    assert "#010203" not in html


def test_names_are_text_and_never_markup() -> None:
    nasty = "<b>$x_{$&\"'"
    one = question("q", small=False, large=True, confidence=0.3).model_dump()
    one["outputs"] = {nasty: {**one["outputs"]["large"], "model": nasty}, "small": one["outputs"]["small"]}
    questions = [Recorded.model_validate({**one, "id": str(place)}) for place in range(4)]

    html = page(evaluation_of(questions, roles=Roles("small", nasty)), Read((nasty,), 0, (nasty,)))

    assert Page.of(html).open == []
    assert "<b>" not in html


def test_a_report_says_what_would_mislead() -> None:
    questions = [one.model_copy(update={"graded_by": "agreement:numeric"}) for one in with_confidence(50)]
    other = questions[0].model_dump()
    other["outputs"]["small"]["model"] = "another"

    html = page(evaluation_of([Recorded.model_validate(other), *questions[1:]]), Read(("q.jsonl",), 0, ()))

    assert "by agreement with the final tier" in html
    assert "small is several models (another, s)" in html


def test_the_same_questions_give_the_same_report() -> None:
    first, second = (page(evaluation_of(with_confidence(80)), Read(("q.jsonl",), 0, ())) for _ in range(2))

    assert first == second
