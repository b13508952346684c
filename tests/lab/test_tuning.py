"""From recorded questions to an artefact, on questions whose truth is known."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from fakes.recordings import recorded
from fakes.trusting import CHECKS

from router.fitted import Logistic
from router.graders import grader_of
from router.lab.examples import Confirming, Example, Helper, examples_of
from router.lab.foresight import Embedding
from router.lab.outcomes import BadRecord, Opinion, Output, Recorded
from router.lab.targets import Target, effect_of
from router.lab.tuning import CannotTune, Of, Promise, Tuned, Wanted, measured, split, tune
from router.policy import Policy
from router.scorers import SCORERS
from router.skipping import EmbeddingGain, PromptGain
from router.trust import OpinionPrint, TierPrint, trust_of, trust_written

POLICY = Policy("exact", SCORERS["mean-logprob"], 1.0, CHECKS, "escalate")
OF = Of((TierPrint(model="s"), TierPrint(model="l")), CHECKS, "escalate", "exact", "ab")
EXACT = grader_of("exact")
PROMISE = Promise(0.05, 0.1, 30)
WANTED = Wanted(
    scorer=None, features=("mean-logprob", "min-probability", "margin", "log-tokens"), confidence_of="right",
    target=None, threshold=None, promise=PROMISE,
    certify_share=0.5, by_task=False, gate_sizes=(4, 8), loss="regret",
    seed=1,
)  # fmt: skip

SKIPPING = replace(WANTED, promise=None, threshold=0.5, skip=True)


def examples(found: Sequence[Recorded]) -> list[Example]:
    """As the cascade's policy meets them."""
    return examples_of(found, ("small", "large"), POLICY, EXACT)


@pytest.fixture(scope="module")
def questions() -> list[Example]:
    """Two thousand of them."""
    return examples(recorded(2000))


@pytest.fixture(scope="module")
def tuned(questions, tmp_path_factory) -> Tuned:
    """A certified artefact."""
    return tune(questions, OF, WANTED, tmp_path_factory.mktemp("tuned") / "splits.json")


def test_a_fitted_scorer_knows_the_weakest_token(tuned: Tuned) -> None:
    fresh = measured(examples(recorded(3000, seed=2)), tuned.trust.fit.judging)
    effect = effect_of(fresh, tuned.trust.fit.threshold)

    assert isinstance(tuned.trust.fit.scorer, Logistic)
    assert effect.accepted > 0.4
    assert effect.regret < 0.06


def test_the_calibrated_confidence_is_a_share_of_right_drafts(tuned: Tuned) -> None:
    fresh = measured(examples(recorded(4000, seed=3)), tuned.trust.fit.judging)

    sure = fresh.confidence > 0.9
    assert fresh.draft_right[sure].mean() == pytest.approx(fresh.confidence[sure].mean(), abs=0.03)
    assert fresh.draft_right.mean() == pytest.approx(fresh.confidence.mean(), abs=0.04)


def test_the_certificate_counts_what_it_was_given_on(tuned: Tuned) -> None:
    certificate, drawn = tuned.trust.fit.certificate, tuned.certified_on

    assert certificate is not None
    assert drawn is not None
    effect = effect_of(drawn, certificate.threshold)
    assert certificate.questions == len(drawn.confidence)
    assert (certificate.accepted, certificate.losses) == (
        round(effect.accepted * certificate.questions), round(effect.regret * certificate.questions))  # fmt: skip
    assert (certificate.grader, certificate.max_age_days) == ("exact", 30)


def test_the_two_parts_share_no_question_and_are_the_same_whoever_else_is_there(questions: list[Example]) -> None:
    fitting, certifying = split(questions, WANTED)
    again = split(questions[:500], WANTED)

    assert not {one.id for one in fitting} & {one.id for one in certifying}
    assert {one.id for one in again[1]} <= {one.id for one in certifying}
    assert 0.45 < len(certifying) / len(questions) < 0.55
    assert split(questions, replace(WANTED, promise=None)) == (questions, [])


def test_the_same_questions_certify_another_policy_at_half_the_delta(questions: list[Example], tmp_path: Path) -> None:
    ledger = tmp_path / "splits.json"

    deltas = []
    for wanted in (WANTED, WANTED, replace(WANTED, scorer="min-logprob")):
        certificate = tune(questions, OF, wanted, ledger).trust.fit.certificate
        assert certificate is not None
        deltas.append((certificate.delta, certificate.use))

    assert deltas == [(0.1, 1), (0.1, 1), (0.05, 2)]


def test_disagreement_is_certified_by_the_grader_that_audits_use(tmp_path: Path) -> None:
    texts = [one.model_copy(update={"outputs": {
        "small": one.outputs["small"].model_copy(update={"text": f"{5 - bool(one.outputs['small'].correct)} eggs"}),
        "large": one.outputs["large"].model_copy(update={"text": "It is 4."})}}) for one in recorded(1500)]  # fmt: skip
    found = examples_of(texts, ("small", "large"), POLICY, grader_of("numeric"))

    fit = tune(found, OF, replace(WANTED, loss="disagreement", audit_grader="numeric"), tmp_path / "s.json").trust.fit

    assert fit.certificate is not None
    assert (fit.certificate.loss, fit.certificate.grader) == ("disagreement", "numeric")
    assert fit.certificate.accepted > 300


def test_a_helpers_agreement_is_a_feature_and_the_artefact_says_whose_it_was(tmp_path: Path) -> None:
    of = replace(OF, opinions={"agreement": OpinionPrint(model="h", grader="exact")})
    answered = [one.model_copy(update={"outputs": {
        **one.outputs, "helper": Output(model="h", text="x" if one.outputs["small"].correct else "y")}})
        for one in recorded(600)]  # fmt: skip
    silent = answered[0].model_copy(update={"id": "silent", "outputs": {
        **answered[0].outputs, "helper": Output(model="h", text="")}})  # fmt: skip
    helper = Helper("helper", grader_of("exact"))

    found = examples_of([*answered, silent], ("small", "large"), POLICY, EXACT, [helper])
    wanted = replace(WANTED, features=("min-probability", "agreement"), promise=None, target=Target("escalated", 0.3))
    tuned = tune(found, of, wanted, tmp_path / "s.json")

    assert found[-1].evidence is None, "nothing can be told of it"
    assert isinstance(tuned.trust.fit.scorer, Logistic)
    assert dict(zip(tuned.trust.fit.scorer.names, tuned.trust.fit.scorer.weights, strict=True))["agreement"] > 1
    assert tuned.trust.opinions == of.opinions
    assert tuned.trust.gate is None, "whole drafts alone can be compared"


def test_a_scorer_that_reads_no_tokens_is_certified_with_the_drafts_that_it_will_judge() -> None:
    (one,) = recorded(1)
    silent = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}
    small = one.outputs["small"].model_copy(update={"reply": silent})
    bare = one.model_copy(update={"outputs": {**one.outputs, "small": small}})

    (unread,) = examples_of([bare], ("small", "large"), POLICY, EXACT, reads_tokens=False)

    assert examples([bare])[0].evidence is None
    assert unread.evidence is not None
    assert not replace(WANTED, features=("agreement",)).reads_tokens
    assert replace(WANTED, features=("agreement", "margin")).reads_tokens


def test_a_helper_costs_what_it_costs_whatever_it_says() -> None:
    (one,) = recorded(1)
    helped = one.model_copy(update={"outputs": {**one.outputs, "helper": Output(model="h", text="", cost=5.0)}})

    (example,) = examples_of([helped], ("small", "large"), POLICY, EXACT, [Helper("helper", EXACT)])

    assert (example.draft_cost, example.evidence) == (6.0, None)


def test_p_true_is_an_opinion_that_costs_and_may_tell_nothing() -> None:
    told, silent = recorded(2)
    asked = [
        one.model_copy(update={"outputs": {**one.outputs, "small": one.outputs["small"].model_copy(update={
            "opinions": {"p-true": Opinion(model="s", value=value, cost=0.5)}})}})
        for one, value in ((told, 0.7), (silent, None))
    ]  # fmt: skip

    first, second = examples_of(asked, ("small", "large"), POLICY, EXACT, [Confirming()])

    assert first.evidence is not None
    assert (first.evidence.opinions, first.draft_cost) == ({"p-true": 0.7}, 1.5)
    assert (second.evidence, second.draft_cost) == (None, 1.5)


def test_a_score_of_prompts_that_cannot_be_fitted_uses_up_no_split(questions: list[Example], tmp_path: Path) -> None:
    wordless = [replace(one, asked="") for one in questions]
    alike = [replace(one, draft_right=True, final_right=True) for one in questions]

    for found in (wordless, alike):
        with pytest.raises(CannotTune, match=r"--skip: "):
            tune(found, OF, replace(WANTED, skip=True), tmp_path / "splits.json")

    assert not (tmp_path / "splits.json").exists()


def tricky(count: int) -> list[Example]:
    """Questions that say whether the drafter is right."""
    return [replace(one, asked=f"{'tricky' if place % 3 else 'plain'} {place}", draft_right=place % 3 == 0,
                    final_right=True) for place, one in enumerate(examples(recorded(count)))]  # fmt: skip


def test_a_score_of_prompts_is_fitted_where_it_is_wanted(tmp_path: Path) -> None:
    tuned = tune(tricky(600), OF, SKIPPING, tmp_path / "s.json")

    assert isinstance(tuned.trust.skip, PromptGain)
    assert tuned.trust.skip.gain("tricky") > tuned.trust.skip.gain("plain")
    assert tuned.foresight is not None
    assert 0 < tuned.foresight.worth.low < tuned.foresight.worth.gain < tuned.foresight.worth.high
    assert trust_of(trust_written(tuned.trust)) == tuned.trust
    assert len(trust_written(tuned.trust)) < 2**20


def test_a_score_of_prompts_that_does_not_earn_its_place_is_left_out(tmp_path: Path) -> None:
    tuned = tune(examples(recorded(600)), OF, SKIPPING, tmp_path / "s.json")

    assert tuned.foresight is not None
    assert tuned.foresight.worth.low <= 0
    assert tuned.trust.skip is None


def test_embeddings_are_scored_where_somebody_embeds(tmp_path: Path) -> None:
    asked: list[str] = []

    def embed(prompts: Sequence[str]) -> list[tuple[float, ...] | None]:
        asked.extend(prompts)
        return [(1.0, 0.0) if "tricky" in one else (0.0, 1.0) if place % 10 else None
                for place, one in enumerate(prompts)]  # fmt: skip

    found = tricky(600)
    tuned = tune(found, OF, replace(SKIPPING, promise=PROMISE), tmp_path / "s.json", Embedding("e", "f", embed))

    skip = tuned.trust.skip
    assert isinstance(skip, EmbeddingGain)
    assert (skip.model, skip.fingerprint, len(skip.weights)) == ("e", "f", 2)
    assert (skip.confidence((1.0, 0.0)) or 1) < 0.3 < (skip.confidence((0.0, 1.0)) or 0)
    assert asked == [one.asked for one in split(found, replace(SKIPPING, promise=PROMISE))[0]]
    assert tuned.foresight is not None
    assert tuned.foresight.questions < len(asked)
    assert tuned.foresight.of_words is not None
    assert trust_of(trust_written(tuned.trust)) == tuned.trust


def test_embeddings_that_are_not_alike_are_refused(tmp_path: Path) -> None:
    odd = Embedding("e", None, lambda prompts: [(1.0,) * (1 + place % 2) for place, _ in enumerate(prompts)])

    with pytest.raises(CannotTune, match="have to be alike"):
        tune(tricky(600), OF, SKIPPING, tmp_path / "s.json", odd)


def test_a_bare_prompt_is_asked_as_one_message_of_a_user() -> None:
    (one,) = recorded(1)
    bare = one.model_copy(update={"request": None, "prompt": "question 0"})
    neither = one.model_copy(update={"request": None, "prompt": None})

    assert examples([bare]) == examples([one])
    assert (examples([bare])[0].asked, examples([neither])[0].asked) == ("question 0", "")


def test_infeasible_is_said_and_keeps_mode_threshold(questions: list[Example], tmp_path: Path) -> None:
    wanted = replace(WANTED, promise=Promise(0.0005, 0.1, 30), target=Target("escalated", 0.5))

    fit = tune(questions, OF, wanted, tmp_path / "splits.json").trust.fit

    assert fit.certificate is None
    assert "infeasible" in (fit.infeasible or "")
    assert 0 < fit.threshold < 1


@pytest.mark.parametrize(("target", "reached"), [
    (Target("quality", 0.97), lambda effect: effect.kept >= 0.95),
    (Target("escalated", 0.3), lambda effect: 1 - effect.accepted == pytest.approx(0.3, abs=0.05)),
    (Target("cost", 0.5), lambda effect: effect.cost == pytest.approx(0.5, abs=0.05)),
])  # fmt: skip
def test_a_target_is_met_on_fresh_questions(questions, target: Target, reached, tmp_path: Path) -> None:
    trust = tune(questions, OF, replace(WANTED, promise=None, target=target), tmp_path / "splits.json").trust
    fresh = measured(examples(recorded(3000, seed=4)), trust.fit.judging)

    assert reached(effect_of(fresh, trust.fit.threshold))
    assert not trust.certified


def test_each_task_with_enough_questions_has_its_own_fit_and_its_share_of_delta(tmp_path: Path) -> None:
    found = examples(recorded(3000, tasks=("sums", "sums", "poems", "sums")))[:2400]
    rare = [replace(one, task="rare") if place % 60 == 0 else one for place, one in enumerate(found)]

    trust = tune(rare, OF, replace(WANTED, by_task=True, promise=Promise(0.1, 0.09, 30)), tmp_path / "s.json").trust

    assert set(trust.clusters) == {"sums", "poems"}
    assert all(certificate.delta == pytest.approx(0.03) for certificate in trust.certificates.values())
    assert len(trust.certificates) == 3


@pytest.mark.parametrize("missing", ["questions", "evidence"])
def test_a_task_with_nothing_to_certify_on_is_infeasible_and_no_other_suffers(missing: str, tmp_path: Path) -> None:
    found = examples(recorded(2000, tasks=("sums", "sums", "sums", "poems")))
    wanted = replace(WANTED, by_task=True, promise=Promise(0.1, 0.09, 30))
    lost = {one.id for one in split(found, wanted)[1] if one.task == "poems"}
    kept = [replace(one, evidence=None) if one.id in lost else one for one in found]
    if missing == "questions":
        kept = [one for one in found if one.id not in lost]

    trust = tune(kept, OF, wanted, tmp_path / "splits.json").trust

    assert set(trust.serving) == {"sums"}
    assert "no threshold accepts one of" in trust.clusters["poems"].infeasible


def test_a_task_that_cannot_be_fitted_is_named(tmp_path: Path) -> None:
    found = examples(recorded(2000, tasks=("sums", "sums", "sums", "poems")))
    odd = [replace(one, draft_right=not one.draft_right) if one.task == "poems" else one for one in found]

    with pytest.raises(CannotTune, match="of the kind 'poems': the outcome is true where the score is low"):
        tune(odd, OF, replace(WANTED, by_task=True, scorer="mean-logprob"), tmp_path / "splits.json")


def test_a_gate_is_fitted_for_the_threshold(tuned: Tuned) -> None:
    gate = tuned.trust.gate

    assert gate is not None
    assert (gate.threshold, sorted(gate.curves)) == (tuned.trust.fit.threshold, [4, 8])


def test_an_artefact_is_read_as_it_was_written(tuned: Tuned) -> None:
    assert trust_of(trust_written(tuned.trust)) == tuned.trust


def test_a_draft_that_fails_a_check_is_never_accepted() -> None:
    (one,) = recorded(1)
    small = one.outputs["small"]
    empty = {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]}
    broken = one.model_copy(update={"outputs": {**one.outputs, "small": small.model_copy(update={"reply": empty})}})

    (example,) = examples([broken])

    assert example.evidence is None
    assert measured([example], SCORERS["mean-logprob"]).confidence.tolist() == [-1.0]


def test_what_the_grader_cannot_tell_is_not_fitted_on_and_counts_as_a_loss(questions: list[Example]) -> None:
    one, two, three = recorded(3)
    untold = [
        one.model_copy(update={"outputs": {**one.outputs, "small": graded(one, "small", None)}}),
        two.model_copy(update={"outputs": {"small": graded(two, "small", False), "large": graded(two, "large", None)}}),
        three.model_copy(
            update={"outputs": {"small": graded(three, "small", True), "large": graded(three, "large", None)}}
        ),
    ]

    found = examples(untold)

    assert [(example.is_told, example.regret) for example in found] == [(False, True), (False, True), (False, False)]
    fitting, certifying = split([*questions, *found], WANTED)
    assert all(example.is_told for example in fitting)
    assert len(fitting) + len(certifying) >= len(questions)


def graded(one: Recorded, tier: str, correct: bool | None) -> Output:
    """That tier's answer, graded so."""
    return one.outputs[tier].model_copy(update={"correct": correct})


def test_a_question_that_is_there_twice_and_a_missing_tier_are_named() -> None:
    (one,) = recorded(1)

    with pytest.raises(BadRecord, match="is there twice"):
        examples([one, one])
    with pytest.raises(BadRecord, match="no answer of tier 'huge'"):
        examples_of([one], ("small", "huge"), POLICY, EXACT)


def test_the_same_command_later_makes_the_same_certificate(questions: list[Example], tmp_path: Path) -> None:
    ledger = tmp_path / "splits.json"
    first = tune(questions, OF, WANTED, ledger).trust
    ledger.write_text(ledger.read_text().replace(str(first.tuned_on), "2026-01-02"))

    again = tune(questions, OF, WANTED, ledger).trust

    assert again.fit.certificate is not None
    assert (again.tuned_on, again.fit.certificate.certified_on) == (date(2026, 1, 2), date(2026, 1, 2))
    assert again.fit.certificate.use == 1


def test_a_certificate_of_regret_says_what_audits_can_watch(tuned: Tuned) -> None:
    certificate = tuned.trust.fit.certificate

    assert certificate is not None
    assert certificate.watched is not None
    assert certificate.watched[0] == "exact"
    assert 0 < certificate.watched[1] < 0.02, "all texts are alike here"


def test_a_grader_by_which_all_is_unlike_leaves_audits_nothing_to_watch(tmp_path: Path) -> None:
    found = [replace(one, agrees=False, final_right=one.draft_right) for one in examples(recorded(1000))]

    certificate = tune(found, OF, replace(WANTED, loss="regret"), tmp_path / "splits.json").trust.fit.certificate

    assert certificate is not None
    assert (certificate.accepted, certificate.disagreement) == (certificate.questions, 1.0)
    assert certificate.watched is None


def test_drafts_without_evidence_that_are_kept_cannot_be_certified(questions: list[Example], tmp_path: Path) -> None:
    with pytest.raises(CannotTune, match="on_missing_evidence: accept"):
        tune(questions, replace(OF, on_missing_evidence="accept"), WANTED, tmp_path / "splits.json")


def test_a_task_whose_drafts_are_all_right_is_judged_by_the_fit_to_all(tmp_path: Path) -> None:
    found = examples(recorded(2000, tasks=("sums", "easy")))
    easy = [replace(one, draft_right=one.task == "easy" or one.draft_right) for one in found]

    trust = tune(easy, OF, replace(WANTED, by_task=True), tmp_path / "splits.json").trust

    assert set(trust.clusters) == {"sums"}


def worded(found: Sequence[Recorded]) -> list[Recorded]:
    """With the words of its task in each question."""
    return [one.model_copy(update={"request": {"messages": [{"role": "user", "content": f"{one.task}, {one.id}"}]}})
            for one in found]  # fmt: skip


def test_each_kind_that_words_tell_is_certified_with_the_questions_that_they_tell(tmp_path: Path) -> None:
    found = examples(worded(recorded(3000, tasks=("sums", "poems"))))
    odd = replace(WANTED, clusters="task", promise=Promise(0.1, 0.1, 30))

    trust = tune(found, OF, odd, tmp_path / "splits.json").trust

    assert trust.words is not None
    assert set(trust.clusters) == set(trust.words.centroids) == {"sums", "poems"}
    _, certifying = split(found, odd)
    for name, fit in trust.clusters.items():
        told = [trust.words.cluster(one.asked) == name for one in certifying]
        assert fit.certificate is not None
        assert fit.certificate.questions == sum(told)
        assert fit.certificate.delta == pytest.approx(0.1 / 3)
    assert trust_of(trust_written(trust)) == trust


def test_what_questions_to_certify_on_are_named_changes_nothing(tmp_path: Path) -> None:
    wanted = replace(WANTED, clusters="task")
    found = examples(worded(recorded(2000, tasks=("sums", "poems"))))
    kept = {one.id for one in split(found, wanted)[1]}
    misnamed = [replace(one, task="sums") if one.id in kept else one for one in found]

    assert tune(found, OF, wanted, tmp_path / "a.json").trust == tune(misnamed, OF, wanted, tmp_path / "b.json").trust


def test_groups_that_are_found_are_fitted_and_certified_without_any_task(tmp_path: Path) -> None:
    found = [replace(one, task=None) for one in examples(worded(recorded(2000, tasks=("sums", "poems"))))]

    trust = tune(found, OF, replace(WANTED, clusters=2), tmp_path / "splits.json").trust

    assert set(trust.clusters) == {"group-1", "group-2"}
    with pytest.raises(CannotTune, match="no kind of request has 100 questions"):
        tune(found, OF, replace(WANTED, clusters="task"), tmp_path / "splits.json")


@pytest.mark.parametrize(
    ("changed", "mistake"),
    [
        (lambda found: found[:99], "are too few: 100 are the least"),
        (lambda found: [replace(one, draft_right=True) for one in found[:400]], "5 drafts of either kind"),
        (lambda found: [replace(one, evidence=None) for one in found[:400]], "0 graded questions whose draft"),
    ],
    ids=["few", "all right", "none scored"],
)
def test_what_does_not_do_is_told(questions: list[Example], changed, mistake: str, tmp_path: Path) -> None:
    with pytest.raises(CannotTune, match=mistake):
        tune(changed(questions), OF, WANTED, tmp_path / "splits.json")
