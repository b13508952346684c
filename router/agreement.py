"""Whether a draft agrees with a helper model's answer to the same request, by their final answers. Pure."""

from models.forms import Fields
from models.wire import JsonObject
from router.graders import Grader, same_answer

ONCE = ("n", "best_of", "stream", "stream_options", "logprobs", "top_logprobs", "prediction")


def agreement_of(draft_text: str, helper_text: str, grader: Grader) -> float | None:
    """1.0 where both give the same final answer, 0.0 where they do not, or the draft gives none; None where the helper
    gives none, for then nothing can be told."""
    same = same_answer(draft_text, helper_text, grader)
    return None if same is None else float(same)


def helper_request(request: Fields) -> JsonObject:
    """The request as the helper gets it: for one answer to each prompt, in one piece, of which the text is read."""
    return {name: value for name, value in request.items() if name not in ONCE}
