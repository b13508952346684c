"""The page of /v1/completions lists the fields that the door and OpenAI's API know, and those of a reply."""

import re
from collections.abc import Iterator
from pathlib import Path

from fakes.scripted import Script
from openai.types import Completion, CompletionChoice, completion_create_params
from openai.types.completion_choice import Logprobs

from models.prompt import NOT_FOR_CLIENTS
from server.doors.completion import CompletionRequest

PAGE = Path(__file__).parents[2] / "docs" / "fields" / "completions.md"
LISTS = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
EXTRA_OF_THE_FAKE = "choices[].vllm_extra"


def listed(title: str) -> set[str]:
    """The first column of the table under a title."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")
    return set(LISTS.findall(rest.partition("\n## ")[0]))


def paths_of(value: object, path: str = "") -> Iterator[str]:
    """The path of each field of a reply; usage's and the alternatives' own keys are no fields of ours."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        yield from paths_of(value[0], f"{path}[]")
    if isinstance(value, dict):
        for name, inner in value.items():
            inside = f"{path}.{name}" if path else name
            yield inside
            if name not in ("usage", "top_logprobs"):
                yield from paths_of(inner, inside)


def test_every_field_of_a_request_is_listed_and_no_other() -> None:
    known = {*CompletionRequest.model_fields, *NOT_FOR_CLIENTS}

    assert listed("Of the request") == known


def test_every_field_of_the_published_api_is_listed() -> None:
    published = {*completion_create_params.CompletionCreateParamsBase.__annotations__, "stream"}
    replied = {
        *Completion.model_fields,
        *(f"choices[].{name}" for name in CompletionChoice.model_fields),
        *(f"choices[].logprobs.{name}" for name in Logprobs.model_fields),
    }

    assert published <= listed("Of the request")
    assert replied <= listed("Of the reply")


async def test_every_field_of_a_reply_is_listed_and_no_other(gateway) -> None:
    cascade = await gateway(small=Script("yes it is"), large=Script())

    raw = await cascade.client.completions.with_raw_response.create(
        model="auto", prompt="is it?", logprobs=1, extra_body={"return_token_ids": True}
    )

    assert listed("Of the reply") == {*paths_of(raw.http_response.json())} - {EXTRA_OF_THE_FAKE}
