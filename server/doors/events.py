"""JSON and server-sent events on their way to a client."""

import orjson

from models.errors import BadReply


def written(data: object) -> bytes:
    """JSON. Raises BadReply where a model's reply cannot be written again."""
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError as odd:
        raise BadReply("the model's reply is nested too deeply, or holds odd numbers") from odd


def event(data: object) -> bytes:
    """A server-sent event."""
    return b"data: " + written(data) + b"\n\n"
