"""What a case has to work with: the gateway, and the scripted model behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.conformance.gateway import CHAT, Answer, Gateway
from server.conformance.json_values import Json, JsonObject
from server.conformance.plays import Play, Reply
from server.conformance.upstream import Upstream

QUESTION = "Say hello."


@dataclass(frozen=True, slots=True)
class Stage:
    """`model` is what the gateway calls the model that is asked; `escalates`: it is a cascade, whose small model is
    asked first. `patience_s` is how long a call may live after its client left, and how late a stream's first words may
    come."""

    gateway: Gateway
    upstream: Upstream | None
    model: str
    escalates: bool
    patience_s: float
    case: str = "warm-up"

    @contextmanager
    def plays(self, reply: Reply, *, large: Reply | None = None) -> Iterator[Play]:
        """While the block lasts, both models say this, or the large one something else."""
        if self.upstream is None:
            raise LookupError("this case needs the scripted model")
        play = self.upstream.put_on(self.case, reply, large or reply)
        try:
            yield play
        finally:
            self.upstream.take_off(play)

    def body(self, prompt: str, **fields: Json) -> JsonObject:
        """A chat request."""
        return {"model": self.model, "messages": [{"role": "user", "content": prompt}], **fields}

    async def ask(self, play: Play, **fields: Json) -> Answer:
        """What the gateway answers while the play is on."""
        return await self.gateway.post(CHAT, self.body(play.marker, **fields))

    async def ask_plainly(self, **fields: Json) -> Answer:
        """What the gateway answers to a short question, whatever model there is."""
        return await self.gateway.post(CHAT, self.body(QUESTION, **{"max_tokens": 16, **fields}))
