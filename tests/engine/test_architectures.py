"""Rows that join and leave a batch keep their text, whatever kind of memory the model has."""

import random

import pytest
import torch
import transformers
from transformers import PreTrainedModel

from models.engine.batch import Batch
from models.engine.network import Network

SHAPE = {
    "vocab_size": 120,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "initializer_range": 0.4,
}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
SMALL = {"vocab_size": 120, "hidden_size": 64, "num_hidden_layers": 2, "initializer_range": 0.4}
CONFIGS = {
    "window": lambda: transformers.MistralConfig(**SHAPE, sliding_window=5),
    "learned positions": lambda: transformers.GPT2Config(
        vocab_size=120, n_embd=64, n_layer=2, n_head=4, initializer_range=0.4
    ),
    "slopes": lambda: transformers.BloomConfig(
        vocab_size=120, hidden_size=64, n_layer=2, n_head=4, initializer_range=0.4
    ),
    "alternating windows": lambda: transformers.Gemma3TextConfig(
        **SHAPE, sliding_window=5, layer_types=["sliding_attention", "full_attention"]
    ),
    "part linear": lambda: transformers.Qwen3_5TextConfig(**SHAPE, **LINEAR),
    "recurrent": lambda: transformers.MambaConfig(**SMALL),
}
RETRACTABLE = ["window", "learned positions", "slopes", "alternating windows"]
LENGTHS = [3, 17, 9, 1, 12]
COUNTS = [14, 4, 10, 7, 5]
ARRIVALS = {0: [0], 2: [1, 2], 4: [3], 6: [4]}


@pytest.mark.parametrize("kind", CONFIGS)
@torch.inference_mode()
def test_rows_that_come_and_go_keep_their_text(kind: str) -> None:
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[kind]()).eval()
    prompts = [torch.randint(3, 120, (length,)).tolist() for length in LENGTHS]

    together = batched(Network(model), prompts)

    assert [*map(alone, [model] * 5, prompts, COUNTS)] == together


@pytest.mark.parametrize("kind", RETRACTABLE)
@torch.inference_mode()
def test_rows_that_verify_drafts_of_any_length_keep_their_text(kind: str) -> None:
    torch.manual_seed(2)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[kind]()).eval()
    prompts = [torch.randint(3, 120, (length,)).tolist() for length in LENGTHS]
    expected = [*map(alone, [model] * 5, prompts, [40] * 5)]

    assert expected == verified(Network(model), prompts, expected)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_memory_that_cannot_go_back_is_known_as_such(kind: str) -> None:
    network = Network(transformers.AutoModelForCausalLM.from_config(CONFIGS[kind]()).eval())

    assert network.retractable == (kind in RETRACTABLE)


@torch.inference_mode()
def test_a_row_at_the_end_of_the_context_stands_its_neighbours_drafts() -> None:
    config = transformers.GPT2Config(vocab_size=120, n_embd=64, n_layer=2, n_head=4, n_positions=24)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    prompts = [list(range(3, 25)), [5, 6]]
    batch = Batch(Network(model))

    batch.prefill(prompts)
    logits = batch.advance([[7], [7, 8, 9, 10, 11, 12]])

    direct = model(torch.tensor([[*prompts[0], 7]])).logits[0, -1]
    assert torch.allclose(direct, logits[0, 0], atol=1e-5)


def verified(network: Network, prompts: list[list[int]], expected: list[list[int]]) -> list[list[int]]:
    """Each row is given drafts of 0 to 7 tokens, of which a random number is right."""
    chance = random.Random(3)
    written: list[list[int]] = [[] for _ in prompts]
    running = [*range(len(prompts))]
    batch = Batch(network)
    note(written, running, batch.prefill(prompts))
    while running:
        drafts = [draft(chance, expected[row][len(written[row]) :]) for row in running]
        tokens = [[written[row][-1], *proposed] for row, proposed in zip(running, drafts, strict=True)]
        likely = batch.advance(tokens).argmax(dim=-1).tolist()
        kept = [1 + agreed(proposed, found) for proposed, found in zip(drafts, likely, strict=True)]
        batch.settle(kept)
        for row, found, count in zip(running, likely, kept, strict=True):
            written[row] += found[:count]
        staying = [at for at, row in enumerate(running) if len(written[row]) < len(expected[row])]
        batch.keep(staying)
        running = [running[at] for at in staying]
    return written


def draft(chance: random.Random, rest: list[int]) -> list[int]:
    proposed = rest[: min(chance.randrange(8), len(rest) - 1)]
    if proposed and chance.random() < 0.5:
        proposed[chance.randrange(len(proposed))] = 0
    return proposed


def agreed(proposed: list[int], found: list[int]) -> int:
    pairs = zip(proposed, found, strict=False)
    return next((at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), len(proposed))


def batched(network: Network, prompts: list[list[int]]) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in prompts]
    running: list[int] = []
    batch = Batch(network)
    for step in range(30):
        if arrivals := ARRIVALS.get(step):
            arriving = Batch(network)
            note(written, arrivals, arriving.prefill([prompts[row] for row in arrivals]))
            batch.join(arriving)
            running += arrivals
        if running:
            note(written, running, batch.advance([[written[row][-1]] for row in running]))
            batch.settle([1] * len(running))
            staying = [at for at, row in enumerate(running) if len(written[row]) < COUNTS[row]]
            batch.keep(staying)
            running = [running[at] for at in staying]
    return written


def note(written: list[list[int]], rows: list[int], logits: torch.Tensor) -> None:
    for row, token in zip(rows, logits[:, -1].argmax(dim=-1).tolist(), strict=True):
        written[row].append(token)


def alone(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    written = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=count,
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return written[0, len(prompt) :].tolist()
