"""What requests are checked and answered by: the served model's name, limits and habits."""

from dataclasses import dataclass

from pydantic import BaseModel

from models.engine.generation import Sampling


@dataclass(frozen=True, slots=True)
class Card:
    """The served model, as requests are checked and answered by."""

    name: str
    root: str
    created: int
    fingerprint: str
    version: str
    max_model_len: int
    vocabulary: int
    eos: frozenset[int]
    stop_ids: frozenset[int]
    sampling: Sampling


class Recommended(BaseModel):
    """What we read of a model's `generation_config.json`."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    eos_token_id: int | list[int] | None = None

    def sampling(self) -> Sampling:
        """How to choose tokens where a request is silent."""
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k or 0,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=None,
        )

    def stop_ids(self) -> frozenset[int]:
        """All tokens that end an answer."""
        match self.eos_token_id:
            case None:
                return frozenset()
            case int(one):
                return frozenset({one})
            case several:
                return frozenset(several)
