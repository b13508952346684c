"""One forward pass of a causal model over padded rows, whatever its architecture."""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from models.engine.cache import is_joinable, is_recurrent, is_retractable, new_cache
from models.engine.errors import StartError

# What models call their cache: transformers from 5.24 on, before that, and its recurrent models before that.
CACHE_NAMES = ("cache", "past_key_values", "cache_params")


class Network:
    """A loaded model. What is before a row's start, or from its end on, is masked."""

    def __init__(self, model: PreTrainedModel) -> None:
        accepted = inspect.signature(model.forward).parameters
        name = next((name for name in CACHE_NAMES if name in accepted), None)
        if name is None:
            raise StartError(f"{type(model).__name__} has no cache that transformers could share")
        self._model = model
        self._has_positions = "position_ids" in accepted
        self._keeps_last = "logits_to_keep" in accepted
        self._cache_name = name
        self.device = model.device
        self._is_recurrent = is_recurrent(self.new_cache())
        self.joinable = is_joinable(self.new_cache())
        self.retractable = is_retractable(self.new_cache())

    def new_cache(self) -> DynamicCache:
        """An empty cache for this model."""
        return new_cache(self._model.config)

    def forward(
        self,
        tokens: Sequence[Sequence[int]],
        starts: Sequence[int],
        ends: Sequence[int],
        cache: DynamicCache,
        *,
        answers: int,
    ) -> Tensor:
        """Float logits [rows, answers, vocabulary] after each of the last `answers` columns.

        `tokens` [rows, columns] are appended to the cache, whose width afterwards is the largest of `ends`; row i
        has its tokens in the columns from `starts[i]` to before `ends[i]`.
        """
        columns = torch.arange(max(ends), device=self.device)
        first = torch.tensor([[start] for start in starts], device=self.device)
        last = torch.tensor([[end - 1] for end in ends], device=self.device)
        fresh = columns[-len(tokens[0]) :]
        inputs: dict[str, object] = {"input_ids": torch.tensor(tokens, device=self.device), "use_cache": True}
        inputs[self._cache_name] = cache
        is_padded = max(starts) > 0 or min(ends) < max(ends)
        if is_padded and not (self._is_recurrent and len(fresh) == 1):
            inputs["attention_mask"] = ((columns >= first) & (columns <= last)).long()
        if self._has_positions:
            inputs["position_ids"] = (torch.minimum(fresh, last) - first).clamp(min=0)
        if self._keeps_last:
            inputs["logits_to_keep"] = answers
        logits: Tensor = self._model(**inputs).logits
        return logits[:, -answers:].float()
