"""The door of /v1/feedback: what somebody thinks of an answer, checked."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from server.doors.reading import Closed, checked, read_fields

MOST_BYTES = 2**18
MOST_CHARACTERS = 2**15


class FeedbackRequest(Closed):
    """The body. `id` is a response's, or a request's."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,160}$")]
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    label: Literal["right", "wrong"] | None = None
    correction: Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.score is None and self.label is None and self.correction is None:
            raise ValueError("score: give it, or a label, or a correction")
        return self


def read_feedback(body: bytes) -> FeedbackRequest:
    """The feedback in a body. Raises RequestError."""
    return checked(FeedbackRequest, read_fields(body))
