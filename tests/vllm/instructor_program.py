"""Asks a gateway for a model in the way of Instructor that is named, and prints it: a program of its own, because
Instructor holds back versions that the tests want new.

`python instructor_program.py http://…/v1 JSON_SCHEMA`
"""

import json
import sys
from typing import Literal

import instructor
import openai
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: Literal["Rome", "Oslo"]


def main(url: str, mode: str) -> None:
    """Print the model, and the tiers that were asked."""
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as client:
        asking = instructor.from_openai(client, mode=instructor.Mode[mode], model="auto")
        weather, reply = asking.create_with_completion(
            messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
            response_model=Weather, temperature=0, max_tokens=100, max_retries=0,
        )  # fmt: skip
    print(json.dumps({"model": weather.model_dump(), "tiers": list(reply.usage.smallfirst["tiers"])}))  # noqa: T201


main(*sys.argv[1:])
