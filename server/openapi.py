"""The gateway's OpenAPI document: its routes, what their bodies are checked for, and what errors look like."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, JsonValue
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from models.wire import JsonObject
from server.doors.feedback import FeedbackRequest
from server.doors.messages_count import COUNT_PATH
from server.doors.messages_request import CountRequest
from server.endpoints import DOORS
from server.passing import ENDPOINTS, PassedRequest

REF = "#/components/schemas/{model}"
MOST_DOCUMENTS = 64
ERROR: JsonObject = {
    "type": "object",
    "description": "OpenAI's shape; below /v1/messages it is Anthropic's.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def bodies() -> Mapping[str, type[BaseModel]]:
    """What the bodies of requests are checked for, by their paths. Fields that are not named go to the model."""
    return {
        **{door.path: door.request for door in DOORS},
        **dict.fromkeys(ENDPOINTS, PassedRequest),
        COUNT_PATH: CountRequest,
        "/v1/feedback": FeedbackRequest,
    }


def described(routes: Iterable[BaseRoute], *, version: str, names: Sequence[str]) -> JsonObject:
    """The document, by OpenAPI 3.1; `names` are what clients may ask for as `model`."""
    document: JsonObject = get_openapi(title="smallfirst", version=version, routes=[*routes])
    models, streamed = bodies(), {door.path for door in DOORS}
    refs, schemas = models_json_schema([(model, "validation") for model in set(models.values())], ref_template=REF)
    document["components"] = {"schemas": {**schemas.get("$defs", {}), "Error": ERROR}}
    for schema in inner(inner(document, "components"), "schemas").values():
        if isinstance(schema, dict) and "model" in (properties := inner(schema, "properties")):
            inner(properties, "model")["enum"] = [*names]
    for path, operations in inner(document, "paths").items():
        for operation in operations.values() if isinstance(operations, dict) else ():
            if not isinstance(operation, dict):
                continue
            inner(operation, "responses")["default"] = content("an error", {"$ref": REF.format(model="Error")})
            if path in streamed:
                told = inner(inner(inner(operation, "responses"), "200"), "content")
                told["text/event-stream"] = {}
            if path in models:
                schema = refs[models[path], "validation"]
                operation["requestBody"] = {"required": True, **content("the request", schema)}
    return document


def describing(app: FastAPI) -> Callable[[tuple[str, ...]], bytes]:
    """The document of an application as JSON, by what clients may ask for; made once for each, as it takes a while."""

    def document(names: tuple[str, ...]) -> bytes:
        return orjson.dumps(described(app.routes, version=app.version, names=names))

    return lru_cache(maxsize=MOST_DOCUMENTS)(document)


def inner(outer: JsonObject, name: str) -> dict[str, JsonValue]:
    """An object inside another one; a new one where there is none."""
    found = outer.setdefault(name, {})
    return found if isinstance(found, dict) else {}


def content(description: str, schema: JsonValue) -> JsonObject:
    """A JSON body of this schema."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}
