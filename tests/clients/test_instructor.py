"""Instructor: models by tools and by JSON, tried again where they do not fit, and grown in a stream."""

import asyncio
from typing import Annotated

import instructor
import openai
import pytest
from fakes.obliging import obliging
from fakes.scripted import Script
from instructor import Mode
from pydantic import AfterValidator, BaseModel

TELLING = [{"role": "user", "content": "Who is told of in: 'Ada' is 36?"}]
ADA = {"name": "Ada", "age": 36}
MODES = pytest.mark.parametrize("mode", [Mode.TOOLS, Mode.JSON_SCHEMA, Mode.JSON])
PERSON_OR_NOT = pytest.mark.parametrize(
    ("tier", "small"), [("small", obliging()), ("large", Script("Ada is 36")), ("large", obliging(p=0.2))]
)


class Person(BaseModel):
    """Somebody who is told of."""

    name: str
    age: int


def in_capitals(name: str) -> str:
    """The name, if it is."""
    if not name.isupper():
        raise ValueError("say 'ADA'")
    return name


class Shouted(BaseModel):
    """A person's name; a wish that no JSON schema tells."""

    name: Annotated[str, AfterValidator(in_capitals)]


@MODES
@PERSON_OR_NOT
async def test_a_model_is_made(gateway, tier: str, small: Script, mode: Mode) -> None:
    cascade = await gateway(small=small, large=obliging())

    person, reply = await client_of(cascade, mode).create_with_completion(messages=TELLING, response_model=Person)

    assert person.model_dump() == ADA
    assert set(reply.usage.smallfirst["tiers"]) == {"small", tier}
    assert asked(cascade) == (1, int(tier == "large"))


@MODES
async def test_a_model_that_does_not_fit_is_asked_for_again(gateway, mode: Mode) -> None:
    cascade = await gateway(small=obliging(), large=obliging())

    shouted = await client_of(cascade, mode).create(messages=TELLING, response_model=Shouted, max_retries=2)

    assert shouted.name == "ADA"
    assert asked(cascade) == (2, 0)
    assert len(cascade.small.seen[1]["messages"]) > len(cascade.small.seen[0]["messages"])


@MODES
@PERSON_OR_NOT
async def test_a_model_grows_in_a_stream(gateway, tier: str, small: Script, mode: Mode) -> None:
    cascade = await gateway(small=small, large=obliging())

    grown = [person async for person in client_of(cascade, mode).create_partial(
        messages=TELLING, response_model=Person)]  # fmt: skip

    assert grown[0].age is None
    assert grown[-1].model_dump() == ADA
    assert asked(cascade) == (1, int(tier == "large"))


@MODES
async def test_several_models_come_one_by_one(gateway, mode: Mode) -> None:
    cascade = await gateway(small=obliging(), large=obliging())

    people = [person async for person in client_of(cascade, mode).create_iterable(
        messages=TELLING, response_model=Person)]  # fmt: skip

    assert [person.model_dump() for person in people] == [ADA]
    assert asked(cascade) == (1, 0)


@MODES
async def test_the_blocking_client_does_the_same(gateway, mode: Mode) -> None:
    cascade = await gateway(small=Script("Ada is 36"), large=obliging())

    def ask() -> Person:
        with openai.OpenAI(base_url=f"{cascade.url}/v1", api_key="none", max_retries=0) as client:
            return instructor.from_openai(client, mode=mode, model="auto").create(
                messages=TELLING, response_model=Person
            )

    assert (await asyncio.to_thread(ask)).model_dump() == ADA
    assert asked(cascade) == (1, 1)


def client_of(cascade, mode: Mode) -> instructor.AsyncInstructor:
    """The cascade's, which asks for models in this way."""
    return instructor.from_openai(cascade.client, mode=mode, model="auto")


def asked(cascade) -> tuple[int, int]:
    """How often each model was."""
    return len(cascade.small.seen), len(cascade.large.seen)
