"""Corrects how vLLM samples on a CPU while it speculates, whatever proposes.

Without Triton, vLLM 0.32 expands each request's temperature, top-k and top-p to its drafted tokens into a copy and
drops it, so that drafted tokens are sampled with what was in memory (vllm-project/vllm issue 55005). Greedy requests
are not concerned, nor are GPUs.
"""

import inspect
import logging

import torch
from torch import Tensor

log = logging.getLogger("vllm.smallfirst_handover")


def correct() -> None:
    """vLLM calls this in each of its processes, before the worker chooses its kernels. Twice is as good as once."""
    if not is_wrong():
        return
    from vllm.utils import cpu_triton_utils

    theirs, ours = inspect.signature(cpu_triton_utils._expand_kernel_impl), inspect.signature(expand)
    if list(theirs.parameters) != list(ours.parameters):
        log.warning("this vLLM expands sampling parameters in a way that smallfirst-handover does not know")
        return
    cpu_triton_utils._expand_kernel_impl = expand


def is_wrong() -> bool:
    """Whether this process would sample with vLLM's own expansion: on a CPU, without Triton, not yet corrected."""
    from vllm.platforms import current_platform
    from vllm.triton_utils import HAS_TRITON

    if HAS_TRITON or not current_platform.is_cpu():
        return False
    try:
        from vllm.utils import cpu_triton_utils
    except ImportError:  # an untried vLLM, which may have no such thing any more
        return False
    return vars(cpu_triton_utils).get("_expand_kernel_impl", expand) is not expand


def expand(
    output: Tensor,
    input_val: Tensor,
    cu_num_tokens: Tensor,
    replace_from: float,
    replace_to: float,
    MAX_NUM_TOKENS: int | None = None,  # noqa: ARG001, N803 - vLLM's name, for a limit that only Triton needs
) -> None:
    """Write each request's value [requests] once for each of its tokens [tokens], `replace_from` as `replace_to`.

    `cu_num_tokens` [requests] are running totals of tokens.
    """
    counts = torch.diff(cu_num_tokens.long(), prepend=cu_num_tokens.new_zeros(1, dtype=torch.long))
    values = input_val.masked_fill(input_val == replace_from, replace_to)
    output.copy_(torch.repeat_interleave(values, counts))
