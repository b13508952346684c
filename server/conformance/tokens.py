"""The scripted models' tokenizer, and how much of an answer a request says is written already: so that a gateway can
let one model go on where another stopped, by token ids or by text, as vLLM allows."""

from collections.abc import Iterable
from zlib import crc32

from server.conformance.json_values import Json, JsonObject, at

PROMPT_IDS: tuple[Json, ...] = (5, 6)
FIRST_ID = 100


class Tokenizer:
    """Knows the text of every token that it has seen."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Take in tokens."""
        self._texts.update((token_id(text), text) for text in texts)

    def ids(self, text: str) -> list[Json]:
        """A text's tokens."""
        self.learn(split(text))
        return [token_id(word) for word in split(text)]

    def text(self, ids: Json) -> str:
        """The text of tokens; nothing for those that were never seen."""
        return "".join(self._texts.get(one, "") for one in ids if isinstance(one, int)) if isinstance(ids, list) else ""


def token_id(text: str) -> int:
    """The token of a text."""
    return FIRST_ID + crc32(text.encode())


def split(text: str) -> list[str]:
    """Words, with the space before them; joined they are the text again."""
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)]


def ids_before(body: JsonObject) -> list[Json]:
    """The token ids that stand before the answer's rest."""
    given = at(body, "kv_transfer_params", "prompt_token_ids")
    return given if isinstance(given, list) else [*PROMPT_IDS]


def already_written(body: JsonObject) -> int:
    """How many tokens of the answer a request holds: ids after the prompt's, or the last message, to be continued."""
    if body.get("continue_final_message") is True:
        text = at(body, "messages", -1, "content")
        return len(split(text)) if isinstance(text, str) and text else 0
    return max(0, len(ids_before(body)) - len(PROMPT_IDS))
