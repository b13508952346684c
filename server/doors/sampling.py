"""The fields that OpenAI's APIs share: whose answer, and how its tokens are drawn."""

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from server.doors.controls import Controls
from server.doors.reading import Object, Wire

Penalty = Annotated[float, Field(ge=-2, le=2)]


class Sampled(Wire):
    """A request for an answer, as far as its type and ranges are the same whatever the API."""

    model: Annotated[str, Field(min_length=1)]
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Object | None = None
    stream_options: object = None
    smallfirst: Controls | None = None

    @field_validator("logit_bias")
    @classmethod
    def _biases_are_numbers(cls, biases: Object | None) -> Object | None:
        if biases and not all(isinstance(bias, int | float) for bias in biases.values()):
            raise ValueError("every bias should be a number")
        return biases

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: needs stream to be true")
        return self
