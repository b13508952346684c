"""What the scripted server refuses, as vLLM would: so that a gateway may leave the checking to it."""

from server.conformance.json_values import Json, JsonObject, at, objects

NOT_FOUND = 404
PROMPTS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/responses": "input",
           "/v1/messages": "messages"}  # fmt: skip


def refusal(path: str, body: Json, served: tuple[str, ...]) -> tuple[int, JsonObject] | None:
    """The status and the error of a request that is wrong; None for one that is not."""
    wrong = mistake(path, body)
    if wrong is not None:
        return 400, error_body(path, wrong, "BadRequestError", 400)
    model = at(body, "model")
    if model not in served:
        return NOT_FOUND, error_body(path, f"The model `{model}` does not exist.", "NotFoundError", NOT_FOUND)
    return None


def mistake(path: str, body: Json) -> str | None:
    """What is wrong with a body."""
    if not isinstance(body, dict):
        return "the body is no JSON object"
    name = PROMPTS[path]
    prompt = body.get(name)
    if not prompt:
        return f"{name}: Field required"
    if name == "messages" and not (
        objects(prompt) and all(isinstance(turn.get("role"), str) for turn in objects(prompt))
    ):
        return "messages: Input should be a valid list of messages"
    for limit in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        most = body.get(limit)
        if most is not None and (not isinstance(most, int) or most < 1):
            return f"{limit} must be at least 1, got {most}"
    temperature = body.get("temperature")
    if temperature is not None and not isinstance(temperature, int | float):
        return "temperature: Input should be a valid number"
    return None


def error_body(path: str, message: str, kind: str, code: int) -> JsonObject:
    """An error in the shape of the path's API."""
    if path == "/v1/messages":
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
