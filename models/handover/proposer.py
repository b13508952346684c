"""vLLM's `custom_class` proposer: what it proposes for a request is the draft that came with it.

vLLM's own sampler verifies what is proposed, so a draft changes how fast an answer comes, never the answer.
"""

import logging
import os
import sys
from collections.abc import Sequence

import vllm
from vllm.config import VllmConfig
from vllm.v1.sample.rejection_sampler import MAX_SPEC_LEN

from .drafts import Drafts
from .runner import runner_being_built
from .sampling import is_wrong
from .versions import Unsupported, is_tried, require_tried

log = logging.getLogger("vllm.smallfirst_handover")


class Proposer:
    """One in each worker. `--speculative-config` names it by its path; vLLM builds it and calls it after every step."""

    def __init__(self, vllm_config: VllmConfig) -> None:
        tokens = vllm_config.speculative_config.num_speculative_tokens
        require_tried(vllm.__version__, os.environ)
        require_verifiable(tokens)
        self._runner = runner_being_built()
        self._drafts = Drafts(vocabulary=vllm_config.model_config.get_vocab_size(), tokens_a_step=tokens)
        warn()

    def load_model(self, *_: object) -> None:
        """The runner is complete: tell it that no context is too long for us, who see to its end ourselves."""
        self._runner.effective_drafter_max_model_len = sys.maxsize

    def propose(self, sampled_token_ids: Sequence[Sequence[int]], *_: object, **__: object) -> list[list[int]]:
        """For every row of the batch the tokens to verify in its next step; none while its prompt is being read."""
        running, context = self._runner.requests, self._runner.max_model_len
        self._drafts.keep(running)
        return [
            self._drafts.next(name, running[name], context=context) if sampled else []
            for name, sampled in zip(self._runner.input_batch.req_ids, sampled_token_ids, strict=False)
        ]


def require_verifiable(tokens: int) -> None:
    """vLLM asserts its limit at the first step that is beyond it, which would end the server then."""
    if tokens > MAX_SPEC_LEN:
        raise Unsupported(f"vLLM verifies at most {MAX_SPEC_LEN} tokens a step; lower num_speculative_tokens={tokens}")


def warn() -> None:
    """Say what an operator has chosen, perhaps without knowing."""
    if not is_tried(vllm.__version__):
        log.warning("smallfirst-handover was never tried with vLLM %s", vllm.__version__)
    if is_wrong():
        log.warning(
            "this vLLM samples wrongly where it speculates on a CPU; let VLLM_PLUGINS name smallfirst_handover, "
            "which corrects it, or send only requests of temperature 0"
        )
