"""What a request says to hand a draft over, and what an engine makes of it. Knows no engine.

A request carries the draft's token ids, in the vocabulary of the model that is asked, as
`vllm_xargs: {"draft_token_ids": [...]}`. The engine verifies them and writes what it would have written without them.
Its reply reports, as vLLM does, `metrics.speculative_decoding`: `num_draft_tokens` proposed,
`num_accepted_draft_tokens` of them kept, `num_spec_steps` steps that verified some. A draft is never a reason to refuse
a request: what is wrong in it ends it there, and what is beyond `MAX_DRAFT_TOKENS` is left out.
"""

from itertools import islice

KEY = "draft_token_ids"
MAX_DRAFT_TOKENS = 16_384


def draft_of(raw: object, *, vocabulary: int) -> tuple[int, ...]:
    """The draft in a request's `draft_token_ids`, up to the first thing that is no token id below `vocabulary`."""
    if not isinstance(raw, list | tuple):
        return ()
    draft: list[int] = []
    for token in islice(raw, MAX_DRAFT_TOKENS):
        whole = int(token) if isinstance(token, float) and token.is_integer() else token
        if not isinstance(whole, int) or isinstance(whole, bool) or not 0 <= whole < vocabulary:
            break
        draft.append(whole)
    return tuple(draft)
