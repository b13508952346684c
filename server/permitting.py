"""What a caller may ask for, and what of its request reaches an engine that others share."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import structs

from models.forms import parts_of
from models.prompt import salted
from models.wire import Json, JsonObject
from router.events import Mode
from server.access.caller import Caller
from server.access.refusal import forbidden
from server.building import Served
from server.doors.door import Asked
from server.errors import RequestError
from server.routing import unknown_model

# Of vLLM's extras: who is served before others, and whose request, or session, it is taken for.
OF_ONE_TENANT = ("priority", "request_id", "session_id")
# What makes a server of vLLM work otherwise than its operator started it.
PROCESSING = ("mm_processor_kwargs", "media_io_kwargs")
TEMPLATES = ("chat_template", "tokenize")
MEDIA = ("image_url", "audio_url", "video_url")
FETCHED = ("http://", "https://", "data:")


def permitted(asked: Asked, caller: Caller, served: Served) -> Asked:
    """The request as its sender may make it. Raises RequestError where it may not."""
    refuse_model(caller, asked.model, served)
    refuse_mode(caller, asked, served)
    refuse_hazards(asked.prompt.fields)
    refuse_files(parts_of(asked.prompt.fields.get("messages")))
    task = asked.controls.task or caller.task
    controls = asked.controls if task is None else asked.controls.model_copy(update={"task": task})
    prompt = asked.prompt
    if caller.salt is not None:
        prompt = structs.replace(prompt, fields=of_tenant(prompt.fields), salt=caller.salt)
    return Asked(asked.model, prompt, controls, asked.writer)


def passed_on(fields: JsonObject, caller: Caller, *, extras: bool) -> JsonObject:
    """The same of a request that is no completion; `extras`: its servers know those of vLLM. Raises RequestError."""
    refuse_hazards(fields)
    refuse_files(objects_in(fields))
    if caller.salt is None:
        return fields
    kept = of_tenant(fields)
    return {**kept, "cache_salt": salted(caller.salt, kept.get("cache_salt"))} if extras else kept


def visible(caller: Caller, served: Served) -> list[str]:
    """The names that the caller may ask for; cascades come first."""
    models = caller.allowance.models
    return [name for name in (*served.cascades, *served.tiers) if models is None or name in models]


def refuse_model(caller: Caller, model: str, served: Served) -> None:
    """Raise RequestError where there is no such cascade or tier, or where the caller may not ask for it."""
    names = visible(caller, served)
    if model in names:
        return
    if served.find(model) is None:
        raise unknown_model(model, names)
    raise forbidden(
        "model", f"model: this key may not use {model!r} (it may use: {', '.join(names) or 'none'})",
        code="model_not_allowed", param="model",
    )  # fmt: skip


def refuse_mode(caller: Caller, asked: Asked, served: Served) -> None:
    """Raise RequestError where the caller may not ask in this mode; a single tier has none."""
    modes, cascade = caller.allowance.modes, served.cascades.get(asked.model)
    if modes is None or cascade is None:
        return
    mode: Mode = asked.controls.mode or cascade.mode
    if mode not in modes:
        raise forbidden(
            "mode", f"smallfirst.mode: this key may not ask in mode {mode!r} (it may in: {', '.join(sorted(modes))})",
            code="mode_not_allowed", param="smallfirst.mode",
        )  # fmt: skip


def of_tenant(fields: Mapping[str, Json]) -> JsonObject:
    """The fields, less those that reach across tenants. Raises RequestError."""
    for name in PROCESSING:
        if fields.get(name) is not None:
            raise RequestError(f"{name}: is not taken from requests: how media are read is the operator's", param=name)
    return {name: value for name, value in fields.items() if name not in OF_ONE_TENANT}


def refuse_hazards(fields: Mapping[str, Json]) -> None:
    """Raise RequestError for what would run on a server."""
    if fields.get("chat_template") is not None:
        raise RequestError(
            "chat_template: a template is not taken from requests: it is the model's", param="chat_template"
        )
    told = fields.get("chat_template_kwargs")
    if isinstance(told, dict):
        for name in (name for name in TEMPLATES if name in told):
            param = f"chat_template_kwargs.{name}"
            raise RequestError(f"{param}: is not taken from requests: leave it out", param=param)


def refuse_files(parts: Iterable[Json]) -> None:
    """Raise RequestError where media would come from a file of the server's, or by another way than the web's."""
    media = ((kind, part.get(kind)) for part in parts if isinstance(part, dict) for kind in MEDIA)
    for kind, medium in media:
        url = url_in(medium)
        if url is not None and not url.lower().startswith(FETCHED):
            raise RequestError(f"{kind}: should be http://, https:// or data:", param=kind)


def objects_in(value: Json) -> Iterator[JsonObject]:
    """All objects of a request whose shape its server alone knows: media may be in any of them. A list that begins with
    a number has token ids alone."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, list) and value and isinstance(value[0], int):
        return
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, dict | list):
            yield from objects_in(inner)


def url_in(media: Json) -> str | None:
    """Where a part's media are: vLLM takes an address by itself too."""
    url = media.get("url") if isinstance(media, dict) else media
    return url if isinstance(url, str) else None
