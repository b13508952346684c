"""Rows that advance in the same forward passes: by one token, or by more where their drafts hold."""

from collections.abc import Sequence

from torch import Tensor

from models.engine.batch import Batch
from models.engine.generation import Delta
from models.engine.network import Network
from models.engine.row import Row
from models.engine.sampler import choose, score


class Lane:
    """`rows` are in the order of the batch. A row whose answer has ended is no longer among them."""

    def __init__(self, network: Network) -> None:
        self.rows: list[Row] = []
        self._batch = Batch(network)

    def prefill(self, rows: Sequence[Row]) -> list[Delta]:
        """Fill an empty lane; what each row wrote, one token."""
        self.rows = list(rows)
        deltas = _write(self.rows, self._batch.prefill([row.generation.prompt for row in rows]))
        self._keep_unfinished(deltas)
        return deltas

    def advance(self) -> list[Delta]:
        """What each row wrote: as many tokens of its proposal as it would have written anyway, and the next one."""
        deltas = _write(self.rows, self._batch.advance([[row.tokens[-1], *row.proposal] for row in self.rows]))
        self._batch.settle([len(delta.tokens) for delta in deltas])
        self._keep_unfinished(deltas)
        return deltas

    def keep(self, at: Sequence[int]) -> None:
        """Drop the other rows."""
        self._batch.keep(at)
        self.rows = [self.rows[each] for each in at]

    def take(self, other: "Lane", at: Sequence[int]) -> None:
        """Take these rows over from another lane."""
        if not at or other is self:
            return
        is_all = len(at) == len(other.rows)
        self._batch.join(other._batch if is_all else other._batch.part(at))
        self.rows = [*self.rows, *(other.rows[each] for each in at)]
        other.keep([each for each in range(len(other.rows)) if each not in at])

    def _keep_unfinished(self, deltas: Sequence[Delta]) -> None:
        self.keep([at for at, delta in enumerate(deltas) if delta.finish is None])


def _write(rows: Sequence[Row], logits: Tensor) -> list[Delta]:
    """Give each row its next tokens."""
    asked = [row.generation for row in rows]
    proposals = [row.proposal for row in rows]
    tokens = choose(logits, proposals, [each.sampling for each in asked], [row.generator for row in rows])
    scores = score(logits, tokens, [each.top_logprobs for each in asked])
    return [row.write(written, scored) for row, written, scored in zip(rows, tokens, scores, strict=True)]
