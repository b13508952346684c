"""How many tokens a conversation is: /v1/messages/count_tokens."""

from collections.abc import Mapping

from models.errors import BadReply, ModelError
from models.pool import Pool
from models.probing import tokens_of
from models.wire import JsonObject
from server.doors.messages_request import CountRequest, asked_fields
from server.doors.reading import checked, read_fields
from server.errors import RequestError
from server.following import Trace, passed_call

TOKENIZE = "/tokenize"
COUNT_PATH = "/v1/messages/count_tokens"
RENDERED = ("messages", "tools", "add_generation_prompt", "continue_final_message", "mm_processor_kwargs")


def read_count(body: bytes) -> tuple[str, JsonObject]:
    """The model that is asked for, and the fields of vLLM's /tokenize that say what it would read. Raises
    RequestError."""
    fields = read_fields(body)
    request = checked(CountRequest, fields)
    asked = asked_fields(request, fields)
    rendered: JsonObject = {"add_generation_prompt": True, **{name: asked[name] for name in RENDERED if name in asked}}
    if template := template_fields(asked):
        rendered["chat_template_kwargs"] = template
    return request.model, rendered


def template_fields(asked: JsonObject) -> JsonObject:
    """What the chat template is told beside the messages: vLLM tells it the effort in these words."""
    effort, given = asked.get("reasoning_effort"), asked.get("chat_template_kwargs")
    told: JsonObject = {} if effort is None else {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    return {**told, **given} if isinstance(given, dict) else told


async def counted(fields: JsonObject, pools: Mapping[str, Pool], request_id: str, trace: Trace | None = None) -> int:
    """By the first tier that can tell. Raises the last tier's ModelError where none can just now, RequestError where
    none ever can."""
    failure: ModelError | None = None
    for tier, pool in pools.items():
        if not pool.speaks_vllm:
            continue
        try:
            with passed_call(trace, tier):
                return count_in(await pool.passed(TOKENIZE, fields, request_id))
        except ModelError as error:
            failure = error
    if failure is not None:
        raise failure
    raise RequestError(
        "model: its servers cannot count tokens: that takes vLLM's /tokenize (dialect vllm)",
        param="model", status=501, code="not_implemented",
    )  # fmt: skip


def count_in(received: bytes) -> int:
    """The number of tokens in a reply of /tokenize. Raises BadReply where it has none."""
    tokens = len(tokens_of(received))
    if not tokens:
        raise BadReply("the server counted no tokens")
    return tokens
