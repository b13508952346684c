"""What a proposer reads of vLLM's model runner, since vLLM tells it of no request, only of rows and tokens."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Protocol

from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from .drafts import Request
from .versions import Unsupported


class Batch(Protocol):
    """`req_ids[row]` is the request in that row of the batch."""

    @property
    def req_ids(self) -> Sequence[str]: ...


class Runner(Protocol):
    """`requests` holds every unfinished request, also one that is preempted. Within the speculated tokens of
    `effective_drafter_max_model_len` the runner proposes zeros itself, for every request of the batch."""

    max_model_len: int
    effective_drafter_max_model_len: int
    input_batch: Batch
    requests: Mapping[str, Request]


def runner_being_built() -> Runner:
    """The runner whose construction we are called in: the V1 runner, on a GPU or a CPU."""
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, GPUModelRunner):
            runner: Runner = found
            return runner
        frame = frame.f_back
    raise Unsupported("a handover needs vLLM's V1 model runner; start vLLM without VLLM_USE_V2_MODEL_RUNNER=1")
