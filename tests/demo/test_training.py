"""Training is seeded, and an interrupted run goes on where it stopped."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from models.demo.batches import IGNORED, Place, batches
from models.demo.recipe import SMALL
from models.demo.tokenizer import train_tokenizer
from models.demo.training import (
    Progressed,
    load_checkpoint,
    new_model,
    optimisers_of,
    save_checkpoint,
    train_step,
)

TINY = replace(SMALL, hidden=32, layers=1, heads=1, feed_forward=64, batch_tokens=512)


@pytest.fixture(scope="module")
def tokenizer():
    """The demo's own."""
    return train_tokenizer()


def test_the_stream_of_batches_goes_on_from_any_place(tokenizer) -> None:
    def stream(start: Place):
        return batches(tokenizer, seed=1, budget=512, start=start)

    whole = list(islice(stream(Place()), 6))
    resumed = list(islice(stream(whole[2][1]), 3))

    for (batch, place), (again, place_again) in zip(whole[3:], resumed, strict=True):
        assert place == place_again
        assert torch.equal(batch.ids, again.ids)
        assert torch.equal(batch.labels, again.labels)


def test_labels_are_the_answers_next_tokens_alone(tokenizer) -> None:
    batch, _ = next(batches(tokenizer, seed=1, budget=512, start=Place()))

    answered = batch.labels[:, :-1] != IGNORED
    assert torch.equal(batch.labels[:, :-1][answered], batch.ids[:, 1:][answered])
    for row in batch.labels:
        wanted = row[row != IGNORED].tolist()
        assert wanted[-1] == tokenizer.eos_token_id


def test_a_resumed_run_takes_the_same_steps(tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    losses = run(tokenizer, file, steps=4, save_at=2)

    assert run(tokenizer, file, steps=4, save_at=None) == losses[2:]


def test_a_checkpoint_of_another_recipe_is_refused(tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    run(tokenizer, file, steps=1, save_at=1)
    other = replace(TINY, seed=9)
    model = new_model(other, tokenizer)

    with pytest.raises(ValueError, match="another recipe"):
        load_checkpoint(file, other, model, optimisers_of(model, other))


def run(tokenizer, file: Path, *, steps: int, save_at: int | None) -> list[float]:
    """Losses of the steps from the checkpoint on, if there is one."""
    model = new_model(TINY, tokenizer)
    optimisers = optimisers_of(model, TINY)
    begun = load_checkpoint(file, TINY, model, optimisers)
    losses = []
    stream = batches(tokenizer, seed=TINY.seed, budget=TINY.batch_tokens, start=begun.place)
    for step in range(begun.step, steps):
        batch, place = next(stream)
        losses.append(train_step(model, optimisers, batch, 1e-3))
        if step + 1 == save_at:
            save_checkpoint(file, TINY, model, optimisers, Progressed(step + 1, place))
    return losses
