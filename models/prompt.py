"""A chat request on its way to a model: what the client sent, less what is ours, and the evidence we want beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.wire import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Prompt:
    """The client's own fields, never changed. `alternatives` is how many likely tokens a scorer needs beside each
    sampled one; None where nothing will be scored."""

    fields: Mapping[str, Json]
    request_id: str
    alternatives: int | None = None

    @property
    def streams(self) -> bool:
        """Whether the client wants the answer piece by piece."""
        return self.fields.get("stream") is True

    @property
    def wants_logprobs(self) -> bool:
        """Whether the client itself asked for log-probabilities."""
        return self.fields.get("logprobs") is True

    @property
    def wants_token_ids(self) -> bool:
        """Whether the client itself asked for token ids (an extra of vLLM)."""
        return self.fields.get("return_token_ids") is True

    @property
    def top_logprobs(self) -> int:
        """How many alternatives a token the client itself asked for."""
        count = self.fields.get("top_logprobs")
        return count if isinstance(count, int) and self.wants_logprobs else 0

    @property
    def wants_usage(self) -> bool:
        """Whether the client gets the usage: always in one piece, in a stream if it asked."""
        options = self.fields.get("stream_options")
        return not self.streams or (isinstance(options, dict) and options.get("include_usage") is True)

    @property
    def length_limit(self) -> int | None:
        """How many tokens the client lets an answer have, if it said."""
        limits = (self.fields.get(name) for name in ("max_completion_tokens", "max_tokens"))
        return next((limit for limit in limits if isinstance(limit, int)), None)

    @property
    def choices(self) -> int:
        """How many answers the client asked for."""
        count = self.fields.get("n")
        return count if isinstance(count, int) else 1

    @property
    def constrains(self) -> bool:
        """Whether a grammar may force tokens, whose log-probabilities then say nothing."""
        response_format = self.fields.get("response_format")
        constrained_format = isinstance(response_format, dict) and response_format.get("type") != "text"
        free = self.fields.get("tool_choice") in (None, "auto", "none")
        return constrained_format or not free or self.fields.get("structured_outputs") is not None

    def scored(self, alternatives: int) -> "Prompt":
        """The same prompt, with log-probabilities of each token and its likeliest `alternatives`."""
        return replace(self, alternatives=alternatives)

    def body(self, model: str, *, token_ids: bool) -> JsonObject:
        """The request as `model`'s server gets it: the client's fields, and the evidence and usage that we need."""
        body = {**self.fields, "model": model}
        if self.alternatives is not None:
            body["logprobs"] = True
            body["top_logprobs"] = max(self.alternatives, self.top_logprobs)
            if token_ids:
                body["return_token_ids"] = True
        if self.streams:
            options = self.fields.get("stream_options")
            body["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        return body
