"""A request on its way to a model: what the client sent, less what is ours, and the evidence we want beside it."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal

from msgspec import Struct, structs

from models.forms import FORMS, LENGTH_LIMITS, FormName, parts_of, texts_of
from models.handover.contract import KEY as DRAFT_KEY
from models.wire import Json, JsonObject

CONVERSATION_CHARACTERS = 4096
Modality = Literal["image", "audio", "video", "file"]
MODALITIES: dict[str, Modality] = {
    "image_url": "image", "input_audio": "audio", "audio_url": "audio", "video_url": "video", "file": "file",
}  # fmt: skip
TOLD_TO_TEMPLATES = ("reasoning_effort", "documents", "chat_template", "add_generation_prompt", "mm_processor_kwargs")
SPECULATION_REFUSES = ("min_p", "logit_bias", "logprob_token_ids")


class Handover(Struct, frozen=True):
    """A finished draft for another model's engine to verify: its text, and its token ids under the tokenizer of that
    fingerprint; no ids, or None, where they are not known."""

    text: str
    token_ids: tuple[int, ...] = ()
    tokenizer: str | None = None


class Written(Struct, frozen=True):
    """The beginning of an answer that is to be gone on with: the prompt's token ids, and those written so far. Of the
    prompt's, `shown` belong to the answer too."""

    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    shown: int = 0


class Prefix(Struct, frozen=True):
    """The beginning of an answer that another model wrote and that was shown: its text, so many tokens, and their ids
    under the tokenizer of that fingerprint; no ids, or None, where they are not known."""

    text: str
    tokens: int
    token_ids: tuple[int, ...] = ()
    tokenizer: str | None = None


class Prompt(Struct, frozen=True):
    """The client's own fields, never changed. `alternatives` is how many likely tokens a scorer needs beside each
    sampled one; None where nothing will be scored. `identified` asks for token ids where they can be had. What depends
    on the `form`, a conversation or a text to complete, is in models/forms.py. `salt` keeps what an engine remembers of
    it apart from what others sent; None where nobody else does. Of two that wait for an engine, the one of higher
    `priority` goes first."""

    fields: Mapping[str, Json]
    request_id: str
    alternatives: int | None = None
    identified: bool = False
    handover: Handover | None = None
    written: Written | None = None
    prefix: Prefix | None = None
    form: FormName = "chat"
    salt: str | None = None
    priority: int = 0

    @property
    def streams(self) -> bool:
        """Whether the client wants the answer piece by piece."""
        return self.fields.get("stream") is True

    @property
    def wants_logprobs(self) -> bool:
        """Whether the client itself asked for log-probabilities."""
        return FORMS[self.form].logprobs(self.fields) is not None

    @property
    def wants_token_ids(self) -> bool:
        """Whether the client itself asked for token ids (an extra of vLLM)."""
        return self.fields.get("return_token_ids") is True

    @property
    def top_logprobs(self) -> int:
        """How many alternatives a token the client itself asked for."""
        return FORMS[self.form].logprobs(self.fields) or 0

    @property
    def wants_usage(self) -> bool:
        """Whether the client gets the usage: always in one piece, in a stream if it asked."""
        options = self.fields.get("stream_options")
        return not self.streams or (isinstance(options, dict) and options.get("include_usage") is True)

    @property
    def length_limit(self) -> int | None:
        """How many tokens the client lets an answer have, if it said, or its API does."""
        return FORMS[self.form].length_limit(self.fields)

    @property
    def shown_tokens(self) -> int:
        """How many tokens of the answer another model wrote."""
        return 0 if self.prefix is None else self.prefix.tokens

    @property
    def choices(self) -> int:
        """How many answers the client asked for."""
        return FORMS[self.form].choices(self.fields)

    @property
    def input(self) -> Json:
        """What is to be answered, as the client sent it."""
        return self.fields.get(FORMS[self.form].input)

    @property
    def of_one_model(self) -> tuple[str, str] | None:
        """The first field that no cascade can serve honestly, and why; a single tier can."""
        return FORMS[self.form].of_one_model(self.fields)

    @property
    def constrains(self) -> bool:
        """Whether a grammar may force tokens, whose log-probabilities then say nothing."""
        response_format = self.fields.get("response_format")
        constrained_format = isinstance(response_format, dict) and response_format.get("type") != "text"
        free = self.fields.get("tool_choice") in (None, "auto", "none")
        return constrained_format or not free or self.fields.get("structured_outputs") is not None

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always taken; a server's own default may sample."""
        return self.fields.get("temperature") == 0

    @property
    def bars_speculation(self) -> str | None:
        """The first field that an engine which speculates cannot take; some would not survive it."""
        fields = self.fields
        if fields.keys().isdisjoint(SPECULATION_REFUSES):
            return None
        return next((name for name in SPECULATION_REFUSES if fields.get(name)), None)

    @property
    def renders_by_more(self) -> bool:
        """Whether a chat template is told more than its messages, tools and own arguments: what, only the server that
        renders it knows."""
        tool_choice = self.fields.get("tool_choice")
        return tool_choice not in (None, "auto") or any(self.fields.get(name) is not None for name in TOLD_TO_TEMPLATES)

    @property
    def predicted(self) -> str | None:
        """The answer as the client predicts it (OpenAI's `prediction`)."""
        prediction = self.fields.get("prediction")
        return texts_of(prediction.get("content")) if isinstance(prediction, dict) else None

    @property
    def modalities(self) -> frozenset[Modality]:
        """What the messages hold beside text."""
        kinds = {part.get("type") for part in parts_of(self.fields.get("messages")) if isinstance(part, dict)}
        return frozenset(modality for kind, modality in MODALITIES.items() if kind in kinds)

    @property
    def conversation(self) -> bytes:
        """What all turns of one conversation share, as a hash: its beginning, up to the user's first word."""
        told = (text[:CONVERSATION_CHARACTERS] for text in FORMS[self.form].opening(self.fields))
        return blake2b("\0".join(told).encode(errors="replace"), digest_size=8).digest()

    def scored(self, alternatives: int) -> "Prompt":
        """The same prompt, with log-probabilities of each token and its likeliest `alternatives`."""
        return structs.replace(self, alternatives=alternatives, identified=True)

    def with_token_ids(self) -> "Prompt":
        """The same prompt; its answer comes with token ids."""
        return structs.replace(self, identified=True)

    def handing_over(self, handover: Handover | None) -> "Prompt":
        """The same prompt, with a draft for the engine to verify; the client's own prediction goes before it."""
        predicted = self.predicted
        given = handover if predicted is None else Handover(predicted)
        return self if given is self.handover else structs.replace(self, handover=given)

    def going_on(self, written: Written) -> "Prompt":
        """The same prompt, with the beginning of the answer written already."""
        return structs.replace(self, written=written, handover=None)

    def after(self, prefix: Prefix, handover: Handover | None) -> "Prompt":
        """The same prompt, whose answer begins with what another model wrote; and what it may verify after that."""
        return structs.replace(self, prefix=prefix, handover=handover, identified=True)

    def streamed(self) -> "Prompt":
        """The same prompt; its answer comes piece by piece, whatever the client wants."""
        return self if self.streams else structs.replace(self, fields={**self.fields, "stream": True})

    def body(self, model: str, *, extras: bool, draft: tuple[int, ...] = ()) -> JsonObject:
        """The request as `model`'s server gets it: the client's fields, and the evidence and usage that we need.
        `extras`: the server knows those of vLLM; `draft`: the token ids that it is to verify."""
        body = {name: value for name, value in self.fields.items() if name not in NOT_FOR_CLIENTS}
        body["model"] = model
        if extras:
            body.pop("prediction", None)
            if self.identified and FORMS[self.form].has_ids(self.fields):
                body["return_token_ids"] = True
            if self.salt is not None:
                body["cache_salt"] = salted(self.salt, self.fields.get("cache_salt"))
            if draft:
                body["vllm_xargs"] = {DRAFT_KEY: list(draft)}
        if self.alternatives is not None:
            body |= FORMS[self.form].evidence(self.fields, self.alternatives, extras)
        if self.streams:
            options = self.fields.get("stream_options")
            body["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        if self.written is not None:
            return gone_on(body, self.written)
        return body if self.prefix is None else gone_on_from_text(body, self.prefix)


# What reaches into an engine past its checks: the prompt as token ids, transfers between engines, drafts.
NOT_FOR_CLIENTS = ("kv_transfer_params", "ec_transfer_params", "vllm_xargs")


def salted(salt: str, own: Json) -> str:
    """What vLLM's prefix cache is salted with: a client may divide what is its own further, and not reach what is
    others'."""
    if own is None:
        return salt
    return blake2b(f"{own}".encode(errors="replace"), key=salt.encode()[:64], digest_size=24).hexdigest()


def gone_on(body: JsonObject, written: Written) -> JsonObject:
    """The body of a request for the rest of an answer: vLLM takes the prompt as token ids and renders nothing."""
    body["kv_transfer_params"] = {"prompt_token_ids": [*written.prompt_token_ids, *written.token_ids]}
    return shortened(body, written.shown + len(written.token_ids))


def gone_on_from_text(body: JsonObject, prefix: Prefix) -> JsonObject:
    """The same where token ids cannot be had: vLLM cuts the text into tokens, which need not be those it was written
    in."""
    messages = body.get("messages")
    told: Json = {"role": "assistant", "content": prefix.text}
    body["messages"] = [*(messages if isinstance(messages, list) else ()), told]
    body["continue_final_message"], body["add_generation_prompt"] = True, False
    return shortened(body, prefix.tokens)


def shortened(body: JsonObject, written: int) -> JsonObject:
    """The body, with so many tokens less to write."""
    for name in (*LENGTH_LIMITS, "min_tokens"):
        count = body.get(name)
        if isinstance(count, int):
            body[name] = max(0, count - written)
    return body
