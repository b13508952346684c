"""What can be fitted to recorded questions, and judges each of them by a fit to others: whether a scorer of text, or a
score before generation, would earn its place."""

from collections.abc import Iterator, Sequence

from router.lab.candidates import Candidate, prompt_of, signals_of
from router.lab.fitting import cross_fitted, target_of
from router.lab.folds import folds_of
from router.lab.measures import Bools
from router.lab.outcomes import Recorded
from router.lab.selection import Roles
from router.lab.skip_fitting import cross_fitted_gain, gains_of

FOLDS = 5


class NothingToFit(Exception):
    """The questions lack what is fitted on, or are too few, or too much alike."""


def fitted_candidates(
    questions: Sequence[Recorded], roles: Roles, draft_right: Bools, final_right: Bools
) -> Iterator[Candidate]:
    """A scorer of the draft's text, with the helper's answer and the recorded confidence where there are any, where the
    drafts have text; and the score before generation where the questions have. Raises NothingToFit."""
    prompts = [prompt_of(one) for one in questions]
    try:
        fold = folds_of([prompt or one.id for prompt, one in zip(prompts, questions, strict=True)], FOLDS)
        if any(one.outputs[roles.draft].text for one in questions):
            signals = signals_of(questions, roles)
            no_regret = target_of("no-regret", draft_right, final_right)
            confidence = cross_fitted(signals, no_regret, list(signals[0]), fold)
            yield Candidate("fitted on text", confidence, "no-regret", asks_helper=roles.helper is not None)
        if any(prompts):
            confidence = cross_fitted_gain(prompts, gains_of(draft_right, final_right), fold)
            yield Candidate("before generation", confidence, before_generation=True)
    except ValueError as wrong:
        raise NothingToFit(str(wrong)) from wrong
