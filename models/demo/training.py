"""Train one of the demo pair from its recipe: seeded, with a progress bar, resumable from its last checkpoint.

The loss is on answers only. Matrices learn by Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers"),
embeddings and norms by AdamW.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Muon, Optimizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.demo.batches import IGNORED, Batch, Place, batches, encode, padded
from models.demo.curriculum import distinct
from models.demo.question import Question, Split
from models.demo.recipe import CONTEXT_TOKENS, VOCABULARY, Recipe
from models.demo.tokenizer import ASSISTANT, END, PAD, USER

WARM_UP = 0.03
EVALUATIONS = 16
CHECKPOINT_STEPS = 500
WATCHED_QUESTIONS = 800

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a training is: optimiser steps done, and the place in the stream of batches."""

    step: int
    place: Place


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama of the recipe's shape and seed, float32."""
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=recipe.hidden,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            head_dim=recipe.hidden // recipe.heads,
            intermediate_size=recipe.feed_forward,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            initializer_range=0.5 / math.sqrt(recipe.hidden),
            attn_implementation="sdpa",
        )
    )


def optimisers_of(model: LlamaForCausalLM, recipe: Recipe) -> list[Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest; the same learning rate."""
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else rest).append(parameter)
    rate = recipe.learning_rate
    return [
        Muon(
            matrices,
            lr=rate,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
            ns_steps=4,
        ),
        AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def rate_at(step: int, steps: int) -> float:
    """The share of the peak learning rate at `step` of `steps`: warm-up, then a cosine to zero."""
    done = step / steps
    return min(1.0, done / WARM_UP + 0.01) * 0.5 * (1 + math.cos(math.pi * done))


@contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """bfloat16 matrix products; on a CPU the plain attention kernel, which is the faster one for short rows."""
    backends = [SDPBackend.MATH] if device.type == "cpu" else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(backends), torch.autocast(device.type, torch.bfloat16):
        yield


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy over the answers' tokens; the output layer is applied to those alone."""
    device = model.device
    ids, labels = batch.ids.to(device), batch.labels.to(device)
    with mixed_precision(device):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        answered = labels != IGNORED
        return cross_entropy(model.lm_head(hidden[answered]).float(), labels[answered])


@torch.no_grad()
def forced_right(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[Question],
    *,
    rows: int = 50,
) -> list[bool]:
    """Whether every answer token is the model's greedy choice after the right ones before it: greedy decoding would
    give exactly this answer."""
    talks = [[(f"{USER}{q.prompt}{END}{ASSISTANT}", f"{q.answer}{END}")] for q in asked]
    encoded = encode(tokenizer, talks)
    order = sorted(range(len(asked)), key=lambda index: len(encoded[index][0]))
    right = [False] * len(asked)
    pad = tokenizer.convert_tokens_to_ids(PAD)
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        batch = padded([encoded[index] for index in chosen], pad)
        labels = batch.labels.to(model.device)
        with mixed_precision(model.device):
            greedy = model(input_ids=batch.ids.to(model.device), use_cache=False).logits.argmax(-1)
        exact = ((greedy == labels) | (labels == IGNORED)).all(-1).tolist()
        for index, is_right in zip(chosen, exact, strict=True):
            right[index] = is_right
    return right


def by_task(asked: Sequence[Question], right: Sequence[bool]) -> dict[str, int]:
    """Per cent right of each task."""
    found: defaultdict[str, list[bool]] = defaultdict(list)
    for question, is_right in zip(asked, right, strict=True):
        found[question.task].append(is_right)
    return {task: round(100 * sum(marks) / len(marks)) for task, marks in sorted(found.items())}


def save_checkpoint(
    file: Path,
    recipe: Recipe,
    model: LlamaForCausalLM,
    optimisers: list[Optimizer],
    progressed: Progressed,
) -> None:
    """Write all that a resume needs, atomically."""
    partial = file.with_suffix(".partial")
    state = {
        "recipe": asdict(recipe),
        "step": progressed.step,
        "pool": progressed.place.pool,
        "batch": progressed.place.batch,
        "model": model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
    }
    torch.save(state, partial)
    partial.replace(file)


def load_checkpoint(file: Path, recipe: Recipe, model: LlamaForCausalLM, optimisers: list[Optimizer]) -> Progressed:
    """Take up the last checkpoint, or start afresh where there is none.

    Raises ValueError where the checkpoint was made by another recipe.
    """
    if not file.exists():
        return Progressed(0, Place())
    state = torch.load(file, map_location=model.device, weights_only=True)
    if state["recipe"] != asdict(recipe):
        raise ValueError(f"{file} was made by another recipe: remove it to train anew")
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    return Progressed(state["step"], Place(state["pool"], state["batch"]))


def train(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, *, folder: Path, device: str) -> LlamaForCausalLM:
    """Train to the recipe's last step; checkpoints go to `folder`, from which an interrupted run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{recipe.name}.checkpoint"
    model = new_model(recipe, tokenizer).to(device)
    optimisers = optimisers_of(model, recipe)
    begun = load_checkpoint(file, recipe, model, optimisers)
    watched = distinct(Split.THRESHOLD, WATCHED_QUESTIONS)
    stream = batches(tokenizer, seed=recipe.seed, budget=recipe.batch_tokens, start=begun.place)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        line = bar.add_task(recipe.name, total=recipe.steps, completed=begun.step)
        for step in range(begun.step, recipe.steps):
            batch, place = next(stream)
            loss = train_step(model, optimisers, batch, recipe.learning_rate * rate_at(step, recipe.steps))
            done = step + 1
            bar.advance(line)
            if done % CHECKPOINT_STEPS == 0 or done == recipe.steps:
                save_checkpoint(file, recipe, model, optimisers, Progressed(done, place))
            if done % (recipe.steps // EVALUATIONS) == 0:
                right = forced_right(model, tokenizer, watched)
                log.info(
                    "trained", model=recipe.name, step=done, loss=round(loss, 4),
                    right=round(sum(right) / len(right), 3), tasks=by_task(watched, right),
                )  # fmt: skip
                bar.update(line, description=f"{recipe.name} {sum(right) / len(right):.0%} right")
    return model


def train_step(model: LlamaForCausalLM, optimisers: list[Optimizer], batch: Batch, rate: float) -> float:
    """One optimiser step at the given learning rate; returns the loss in nats per answer token."""
    loss = answer_loss(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return loss.item()
