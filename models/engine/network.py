"""One forward pass of a causal model over left-padded rows, whatever its architecture."""

import inspect

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from models.engine.cache import is_joinable, new_cache
from models.engine.errors import StartError


class Network:
    """A loaded model. Rows end in the last column; what is before a row's start is masked."""

    def __init__(self, model: PreTrainedModel) -> None:
        accepted = inspect.signature(model.forward).parameters
        if not {"past_key_values", "cache_params"} & accepted.keys():
            raise StartError(f"{type(model).__name__} has no cache that transformers could share")
        self._model = model
        self._has_positions = "position_ids" in accepted
        self._keeps_last = "logits_to_keep" in accepted
        self._is_recurrent = "cache_params" in accepted
        self.device = model.device
        self.joinable = is_joinable(self.new_cache())

    def new_cache(self) -> DynamicCache:
        """An empty cache for this model."""
        return new_cache(self._model.config)

    def forward(self, tokens: Tensor, lengths: list[int], cache: DynamicCache) -> Tensor:
        """Float logits [rows, vocabulary] after the last column.

        `tokens` [rows, columns] are appended to the cache; `lengths` count each row's tokens with
        them, so that the longest row's length is the width of the cache afterwards.
        """
        columns = torch.arange(max(lengths), device=self.device)
        starts = torch.tensor([[max(lengths) - length] for length in lengths], device=self.device)
        fresh = columns[-tokens.shape[1] :]
        inputs: dict[str, object] = {"input_ids": tokens, "use_cache": True}
        inputs["cache_params" if self._is_recurrent else "past_key_values"] = cache
        if min(lengths) < max(lengths) and not (self._is_recurrent and len(fresh) == 1):
            inputs["attention_mask"] = (columns >= starts).long()
        if self._has_positions:
            inputs["position_ids"] = (fresh - starts).clamp(min=0)
        if self._keeps_last:
            inputs["logits_to_keep"] = 1
        logits: Tensor = self._model(**inputs).logits
        return logits[:, -1].float()
