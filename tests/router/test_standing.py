"""The response ladder: where a certificate stands, from what is known of it."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from router.alarm import Stretch
from router.certificate import Certificate, Loss
from router.drift import WINDOW, Drift, histogram_of
from router.standing import DAY_S, ENOUGH, Standing, Watched, standing_of, watch_of
from router.watch import Watch

DAY = datetime(2026, 3, 1, tzinfo=UTC)
EPSILON = 0.05


def certificate(loss: Loss = "disagreement", epsilon: float = EPSILON) -> Certificate:
    return Certificate(
        loss=loss, grader="exact", epsilon=epsilon, delta=0.1, threshold=0.9, questions=500, accepted=300, losses=5,
        split="0" * 64, certified_on=date(2026, 3, 1), max_age_days=30,
    )  # fmt: skip


def standing(watched: Watched | None = None, *, days: float = 1, **more: object) -> Standing:
    return standing_of(certificate(), watched, DAY + timedelta(days=days), **more)


def audited(*losses: bool | None, watched: Watched | None = None, days: float = 1) -> Watched:
    """Audits of every draft, on one day."""
    watched = watched or watch_of(certificate())
    for loss in losses:
        watched = watched.after(Stretch(1.0, 1.0, loss), (DAY + timedelta(days=days)).timestamp())
    return watched


def test_a_fresh_certificate_holds_without_audits_until_its_day() -> None:
    assert standing(days=29.9).state == "certified"
    assert standing(days=29.9).is_valid
    assert standing(days=30).state == "expired"
    assert standing(days=30).fallback == "expired"


def test_enough_audits_without_an_alarm_keep_it_alive() -> None:
    enough = audited(*[False] * round(ENOUGH / EPSILON), days=25)
    too_few = audited(*[False] * round(ENOUGH / EPSILON - 1), days=25)

    assert standing(enough, days=54).state == "certified"
    assert standing(enough, days=56).state == "expired"
    assert standing(too_few, days=31).state == "expired"


def test_audits_that_found_nothing_out_do_not() -> None:
    undecided = audited(*[None] * 3 * round(ENOUGH / EPSILON), days=25)
    at = (DAY + timedelta(days=25)).timestamp()
    after_failures = watch_of(certificate()).after(Stretch(ENOUGH / EPSILON, 1.0, False), at)

    assert standing(undecided, days=31).state == "expired"
    assert standing(after_failures, days=31).state == "expired"


def test_what_the_audits_of_few_drafts_come_to_does_not_depend_on_their_propensity() -> None:
    watched = watch_of(certificate())
    for _ in range(round(ENOUGH / EPSILON)):
        watched = watched.after(Stretch(0.05, 0.02, False), (DAY + timedelta(days=25)).timestamp())

    assert standing(watched, days=54).state == "certified"


def test_a_clock_that_is_ahead_keeps_no_certificate_alive() -> None:
    watch = Watch(certificate(), now=lambda: DAY + timedelta(days=31))
    for _ in range(2 * round(ENOUGH / EPSILON)):
        watch.audited(Stretch(1.0, 1.0, False), datetime(2096, 1, 1, tzinfo=UTC).timestamp())

    assert watch.standing.state == "expired"
    assert watch.watched.alarm.exposure == 2 * round(ENOUGH / EPSILON)


def test_audits_that_are_too_far_apart_do_not() -> None:
    watched = audited(*[False] * 100, days=1)

    later = audited(*[False] * 100, watched=watched, days=40)

    assert later.enough_s is None
    assert later.gathered == 100
    assert standing(later, days=40).state == "expired"


def test_losses_first_warn_and_then_alarm() -> None:
    warned, alarmed = audited(True, True), audited(*[True] * 5)

    assert standing(warned).state == "warned"
    assert standing(warned).is_valid
    assert standing(warned).is_watchful
    assert standing(alarmed).state == "alarmed"
    assert standing(alarmed).fallback == "alarmed"
    assert "a disagreement with the final tier above 0.05" in standing(alarmed).why


def test_an_alarm_stands_whatever_comes_after_it() -> None:
    later = audited(*[True] * 5, *[False] * 3_000)

    assert not later.alarm.warns
    assert standing(later).state == "alarmed"


def test_what_changed_goes_before_everything_and_may_change_back() -> None:
    alarmed = audited(*[True] * 5)

    assert standing(alarmed, changed=("the tokenizer of small",)).state == "stale"
    assert standing(alarmed, changed=("the tokenizer of small",)).why == "the tokenizer of small"
    assert standing(alarmed).state == "alarmed"


def test_what_audits_found_must_be_read_where_they_can_tell_of_the_loss() -> None:
    watches = {
        loss: Watch(certificate(loss), now=lambda: DAY + timedelta(days=1)) for loss in ("disagreement", "regret")
    }
    for watch in watches.values():
        watch.remembers()

    assert {loss: watch.standing.fallback for loss, watch in watches.items()} == {
        "disagreement": "unread", "regret": None}  # fmt: skip
    watches["disagreement"].read()
    assert watches["disagreement"].standing.is_valid


def test_drift_warns() -> None:
    assert standing(drifts=True).state == "warned"


def test_its_json_is_all_of_its_state() -> None:
    watched = audited(True, False)

    assert Watched.model_validate_json(watched.model_dump_json()) == watched


def test_a_watch_knows_which_audits_are_about_its_certificate() -> None:
    watch = Watch(certificate(), artefact="a")

    assert watch.is_about(artefact="a", grader="exact")
    assert not watch.is_about(artefact="b", grader="exact")
    assert not watch.is_about(artefact="a", grader="numeric")
    assert not Watch(certificate(loss="regret"), artefact="a").is_about(artefact="a", grader="exact"), (
        "an audit does not show who is right"
    )


def test_a_certificate_expires_within_the_calendar() -> None:
    with pytest.raises(ValidationError, match="max_age_days"):
        Certificate.model_validate({**certificate().model_dump(), "max_age_days": 99_999_999})


def test_where_every_accepted_draft_may_disagree_there_is_nothing_to_watch() -> None:
    unlike = certificate(loss="regret").model_copy(update={"audited_by": "exact", "disagreement": 1.0})
    watch = Watch(unlike, artefact="a", now=lambda: DAY)

    assert watch.standing.state == "certified"
    assert not watch.is_about(artefact="a", grader="exact")


def test_a_watch_that_warns_wants_more_audits() -> None:
    changed: list[str] = []
    watch = Watch(certificate(), changed=lambda: changed, now=lambda: DAY + timedelta(days=1))
    assert (watch.standing.state, watch.vigilance) == ("certified", 1.0)

    for _ in range(2):
        watch.audited(Stretch(1.0, 1.0, True), DAY.timestamp() + DAY_S)

    assert (watch.standing.state, watch.vigilance) == ("warned", 4.0)
    changed.append("the model")
    assert (watch.standing.state, watch.vigilance) == ("stale", 1.0)


def test_a_watch_sees_confidences_drift() -> None:
    drift = Drift(histogram_of([number / 500 for number in range(500)]))
    watch = Watch(certificate(), drift=drift, now=lambda: DAY)

    for number in range(WINDOW):
        watch.scored(number / WINDOW)
    assert watch.standing.state == "certified"
    for number in range(WINDOW):
        watch.scored((number / WINDOW) ** 3)

    assert watch.standing.state == "warned"
