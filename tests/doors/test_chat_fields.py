"""The page of /v1/chat/completions lists the fields that the door and OpenAI's API know, and those of a reply."""

import re
from pathlib import Path

from openai.types.chat import ChatCompletion, completion_create_params
from openai.types.chat.chat_completion import Choice

from models.prompt import NOT_FOR_CLIENTS
from server.doors.chat import ChatRequest

PAGE = Path(__file__).parents[2] / "docs" / "fields" / "chat-completions.md"
LISTS = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
PUBLISHED = {*completion_create_params.CompletionCreateParamsBase.__annotations__, "stream"}
OF_VLLM = {"return_token_ids", "top_k", "prompt_logprobs", "logprob_token_ids", "return_tokens_as_token_ids"}


def listed(title: str) -> set[str]:
    """The first column of the table under a title."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")
    return set(LISTS.findall(rest.partition("\n## ")[0]))


def test_every_field_of_a_request_is_listed_and_no_other() -> None:
    assert listed("Of the request") == {*ChatRequest.model_fields, *NOT_FOR_CLIENTS, *PUBLISHED, *OF_VLLM}


def test_every_field_of_a_reply_is_listed() -> None:
    published = {*ChatCompletion.model_fields, *(f"choices[].{name}" for name in Choice.model_fields)}

    assert published <= listed("Of the reply")
