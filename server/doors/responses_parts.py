"""The content of an input item, part by part, as a chat message's content."""

from collections.abc import Callable, Mapping
from typing import Annotated

from models.wire import Json, JsonObject
from server.doors.reading import Wire, checked_at
from server.doors.responses_checks import NOTHING_STORED, nothing_but, objects_in, unserved

BREAKPOINT = "prompt_cache_breakpoint"


class TextPart(Wire):
    """A text, from either side."""

    text: str


class RefusalPart(Wire):
    """What the assistant said in place of an answer."""

    refusal: str


class ImagePart(Wire):
    """An image by its address, or as a data URL."""

    file_id: Annotated[object, nothing_but(because=f"{NOTHING_STORED}, send the image as image_url")] = None
    image_url: str
    detail: str | None = None


class AudioPart(Wire):
    """A sound, in base64."""

    input_audio: dict[str, object]


class FilePart(Wire):
    """A file, in base64."""

    file_id: Annotated[object, nothing_but(because=f"{NOTHING_STORED}, send the file as file_data")] = None
    file_url: Annotated[object, nothing_but(because="send the file as file_data")] = None
    detail: Annotated[object, nothing_but("auto", because="a chat message has no such thing")] = None
    file_data: str
    filename: str | None = None


def text_part(part: JsonObject, place: str) -> JsonObject:
    """A text."""
    return {"type": "text", "text": checked_at(TextPart, part, place).text}


def refusal_part(part: JsonObject, place: str) -> JsonObject:
    """A refusal."""
    return {"type": "refusal", "refusal": checked_at(RefusalPart, part, place).refusal}


def image_part(part: JsonObject, place: str) -> JsonObject:
    """An image."""
    image = checked_at(ImagePart, part, place)
    url: JsonObject = {"url": image.image_url}
    return {"type": "image_url", "image_url": url if image.detail is None else {**url, "detail": image.detail}}


def audio_part(part: JsonObject, place: str) -> JsonObject:
    """A sound: chat has the very same part."""
    checked_at(AudioPart, part, place)
    return {"type": "input_audio", "input_audio": part["input_audio"]}


def file_part(part: JsonObject, place: str) -> JsonObject:
    """A file."""
    given = checked_at(FilePart, part, place)
    file: JsonObject = {"file_data": given.file_data}
    return {"type": "file", "file": file if given.filename is None else {**file, "filename": given.filename}}


PARTS: Mapping[str, Callable[[JsonObject, str], JsonObject]] = {
    "input_text": text_part,
    "output_text": text_part,
    "refusal": refusal_part,
    "input_image": image_part,
    "input_audio": audio_part,
    "input_file": file_part,
}


def chat_parts(content: Json, place: str) -> list[JsonObject]:
    """The parts of a content that is a list. Raises RequestError."""
    return [chat_part(part, f"{place}.{index}") for index, part in enumerate(objects_in(content, place))]


def chat_part(part: JsonObject, place: str) -> JsonObject:
    """A part as chat has it, with its mark for the prompt cache, which chat has too. Raises RequestError."""
    kind = part.get("type")
    translate = PARTS.get(kind) if isinstance(kind, str) else None
    if translate is None:
        raise unserved(place, kind, PARTS)
    translated = translate(part, place)
    return translated if part.get(BREAKPOINT) is None else {**translated, BREAKPOINT: part[BREAKPOINT]}
