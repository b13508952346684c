"""docs/fields/messages.md says what becomes of every field of the API: those of its client, and those that we know."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import anthropic.types
import anthropic.types.beta
from fakes.scripted import Script

from server.doors.messages_blocks import OF_ASSISTANT, OF_RESULT, OF_SYSTEM, OF_USER
from server.doors.messages_request import CountRequest, MessagesRequest

PAGE = Path(__file__).parents[2] / "docs" / "fields" / "messages.md"


def test_every_field_that_the_door_knows_is_documented() -> None:
    documented = [name for name, _ in rows("Field", "What becomes of it")]

    assert sorted(documented) == sorted(MessagesRequest.model_fields)


def test_the_door_knows_every_field_of_the_api() -> None:
    published = {
        *fields_of(anthropic.types.message_create_params.MessageCreateParamsBase),
        *fields_of(anthropic.types.beta.message_create_params.MessageCreateParamsBase),
    }
    counted = {
        *fields_of(anthropic.types.MessageCountTokensParams),
        *fields_of(anthropic.types.beta.MessageCountTokensParams),
    }

    assert published | {"stream"} <= {*MessagesRequest.model_fields}
    assert counted <= {*CountRequest.model_fields}


def test_every_block_of_the_api_is_documented() -> None:
    documented = dict(rows("Block", "What becomes of it"))
    blocks = {get_args(get_args(get_type_hints(block, include_extras=True)["type"])[0])[0]
              for block in get_args(anthropic.types.ContentBlockParam)}  # fmt: skip

    assert {*documented} == blocks
    refused = {name for name, becomes in documented.items() if becomes == "Refused."}
    assert blocks - refused == {*OF_USER, *OF_ASSISTANT, *OF_SYSTEM, *OF_RESULT}


async def test_every_field_of_a_reply_is_documented(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))
    async with anthropic.AsyncAnthropic(base_url=cascade.url, api_key="none", max_retries=0) as client:
        message = await client.messages.create(
            model="auto", max_tokens=9, messages=[{"role": "user", "content": "is it?"}]
        )

    documented = dict(rows("Field", "What it is"))
    published = {*anthropic.types.Message.model_fields} - {"usage"}
    published |= {f"usage.{name}" for name in anthropic.types.Usage.model_fields}
    sent = {*message.model_fields_set} - {"usage"} | {f"usage.{name}" for name in message.usage.to_dict()}

    assert {*documented} == published | {"usage.smallfirst"}
    never = {name for name, meaning in documented.items() if meaning == "Never sent."}
    assert sent | {"usage.output_tokens_details"} == {*documented} - never


def fields_of(params: type) -> set[str]:
    """The names of a request's fields."""
    return {*params.__annotations__}


def rows(*titles: str) -> Iterator[tuple[str, str]]:
    """Each name in the first column of the table with these titles, and what the second says of it."""
    wanted = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            wanted = False
        elif cells == [*titles]:
            wanted = True
        elif wanted and not set(line) <= set("|-"):
            for name in re.findall(r"`([^`]*)`", cells[0]):
                yield name, cells[1]
