"""What engines are told to speculate with, and which of them have to wait for each other."""

import json
import shlex

import pytest

from models.launcher.gpus import start_order
from models.launcher.program import flags
from models.launcher.speculation import Drafter, Handover, speculation_flags

DRAFTER = Drafter("maker/small", 5, heterogeneous_vocabularies=False, tokens_by_batch={})


def test_vllm_gets_a_handover_as_a_proposer_and_reports_what_it_kept() -> None:
    command = flags(speculation_flags("vllm", Handover(16)))

    assert shlex.join(command) == (
        '--speculative-config \'{"method": "custom_class", "model": "smallfirst_handover.proposer.Proposer",'
        ' "num_speculative_tokens": 16}\' --per-request-spec-decode-metrics summary'
    )


def test_vllm_gets_a_drafter_as_a_draft_model() -> None:
    assert config_of(DRAFTER) == {"method": "draft_model", "model": "maker/small", "num_speculative_tokens": 5}


def test_vllm_is_told_of_other_vocabularies_and_of_fewer_tokens_under_load() -> None:
    drafter = Drafter("maker/small", 5, heterogeneous_vocabularies=True, tokens_by_batch={33: 0, 1: 5, 9: 2})

    config = config_of(drafter)

    assert config["use_heterogeneous_vocab"] is True
    assert config["num_speculative_tokens_per_batch_size"] == [[1, 8, 5], [9, 32, 2], [33, 33, 0]]


@pytest.mark.parametrize(("speculation", "tokens"), [(Handover(8), 8), (None, 0)])
def test_our_own_engine_is_told_how_many_tokens(speculation: Handover | None, tokens: int) -> None:
    assert speculation_flags("transformers", speculation) == {"speculative-tokens": tokens}


def test_no_speculation_adds_nothing_to_vllm() -> None:
    assert speculation_flags("vllm", None) == {}


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (None, None, True),
        ("0", "0", True),
        ("0", "0,1", True),
        ("0", None, True),
        ("0", "1", False),
        ("0, 2", "1,3", False),
        ("0", "GPU-8932f937", True),
        ("", None, False),
        ("", "0", False),
    ],
)
def test_an_engine_waits_for_those_that_may_share_its_gpu(first: str | None, second: str | None, waits: bool) -> None:
    environments = {
        name: {} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}
        for name, gpus in (("small", first), ("large", second))
    }

    assert start_order(environments) == {"small": (), "large": ("small",) if waits else ()}


def config_of(drafter: Drafter) -> dict[str, object]:
    """The JSON that vLLM is given."""
    return json.loads(str(speculation_flags("vllm", drafter)["speculative-config"]))
