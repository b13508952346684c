"""What a scorer reads of a recorded draft, and how sure it is of it: as the gateway would, to tune and to evaluate."""

from collections.abc import Sequence

import numpy as np

from models.answer import Choice, Draft
from models.prompt import Prompt
from models.tokens import NO_TOKENS
from router.checks import failed_check
from router.events import CheckReason
from router.evidence import questions_in, read_of
from router.lab.measures import Floats
from router.lab.outcomes import Output, Recorded
from router.scorers import Evidence, Scorer

NEVER = -1.0  # the confidence in a draft that escalates whatever the threshold


def prompt_for(question: Recorded) -> Prompt:
    """The request that was recorded."""
    return Prompt({**question.fields}, question.id)


def evidence_in(
    draft: Output, prompt: Prompt, checks: Sequence[CheckReason], *, reads_tokens: bool = True
) -> Evidence | None:
    """Of one choice, with the question; None where the draft escalates whatever its score. Where the reply was not
    recorded, the text is enough for a scorer without tokens. Raises BadRecord."""
    said = draft.draft() or (None if reads_tokens else text_alone(draft))
    if said is None or len(said.choices) != 1 or failed_check(said.choices, prompt, checks) is not None:
        return None
    read = read_of(said.choices[0], prompt, reads_tokens=reads_tokens, asked=questions_in(prompt)[0])
    return None if isinstance(read, str) else read


def text_alone(draft: Output) -> Draft | None:
    """A draft of which no more than the text was recorded, as one that ended by itself."""
    if draft.text is None:
        return None
    return Draft((Choice(draft.text, "", "", (), NO_TOKENS, "stop"),))


def confidences(evidence: Sequence[Evidence | None], scorer: Scorer) -> Floats:
    """(n,): in each draft, -1 where it has no evidence."""
    return np.array([NEVER if one is None else scorer.confidence(scorer.score(one)) for one in evidence])
