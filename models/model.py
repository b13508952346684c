"""The one thing that a language model does here."""

from collections.abc import AsyncGenerator
from typing import Protocol

from models.answer import Delta, Finish
from models.prompt import Prompt


class Model(Protocol):
    """Something that answers prompts."""

    @property
    def takes_handover(self) -> bool:
        """Whether it makes use of a draft that it is handed, just now."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether it can go on after another model's words."""
        ...

    def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Deltas, then one finish; a prompt that does not stream gets its answer as one delta.

        Raises a ModelError. Closing the generator stops the work that it caused.
        """
        ...
