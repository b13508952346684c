"""What the two demo models are: sizes, seeds and training lengths. Everything that `demo train` needs to know."""

from dataclasses import dataclass
from typing import Literal

VOCABULARY = 1024
CONTEXT_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Llama's shape, and how it is trained.

    One step sees about `batch_tokens` padded tokens. The learning rate warms up over the first 3 % of the
    steps and falls to zero along a cosine.
    """

    name: Literal["small", "large"]
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    steps: int
    seed: int
    batch_tokens: int = 2048
    learning_rate: float = 2e-3
    weight_decay: float = 0.02


LARGE = Recipe(name="large", hidden=192, layers=4, heads=6, feed_forward=512, steps=12_000, seed=1)
SMALL = Recipe(name="small", hidden=128, layers=2, heads=4, feed_forward=384, steps=2_400, seed=2)
