"""What is kept of a draft that is held until it is whole."""

from typing import Any

import orjson
import pytest

from models.parsing import delta_of
from models.prompt import Prompt
from router.drafting import spare_evidence

LOGPROBS = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": []}]}
CHUNK = orjson.dumps({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": LOGPROBS, "token_ids": [7]}]})


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({}, {"logprobs": None}),
        ({"logprobs": True}, {"logprobs": LOGPROBS}),
        ({"return_token_ids": True}, {"logprobs": None, "token_ids": [7]}),
    ],
)
def test_the_reply_has_only_what_its_client_asked_for(wanted: dict[str, Any], kept: dict[str, Any]) -> None:
    delta = delta_of(CHUNK, 0.0)

    spare_evidence(delta, Prompt({"messages": [], **wanted}, "id"))

    assert delta.reply["choices"] == [{"index": 0, "delta": {"content": "a"}, **kept}]


def test_the_scorer_reads_what_it_always_read() -> None:
    delta = delta_of(CHUNK, 0.0)

    spare_evidence(delta, Prompt({"messages": []}, "id"))

    assert (delta.pieces[0].tokens.logprobs, delta.pieces[0].token_ids) == ((-0.5,), (7,))
