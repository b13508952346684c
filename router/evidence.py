"""Which of a draft's tokens say how sure the drafter was; or that none do."""

import math

from models.answer import Choice, Token
from models.prompt import Prompt
from router.events import EvidenceReason


def evidence_of(choice: Choice, prompt: Prompt) -> tuple[Token, ...] | EvidenceReason:
    """The answer's own tokens, less those that a grammar forced.

    `no-evidence` where the model sent no log-probabilities, or its reasoning's alone, or those of less than half of the
    answer; `degenerate-evidence` where they are all zero or are no numbers: a score of these would be a constant.
    """
    tokens = choice.answer_tokens
    if not tokens or 2 * sum(len(token.text) for token in tokens) < len(choice.text):
        return "no-evidence"
    if any(math.isnan(token.logprob) for token in tokens) or all(token.logprob == 0.0 for token in tokens):
        return "degenerate-evidence"
    if prompt.constrains:
        return tuple(token for token in tokens if token.logprob != 0.0)
    return tokens
