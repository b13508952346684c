"""The door of /v1/messages: Anthropic's Messages API, read into a chat completion request."""

from models.prompt import Prompt
from server.doors.controls import with_mode
from server.doors.door import Arrival, Asked, Door
from server.doors.messages_answer import Named
from server.doors.messages_errors import anthropic_error
from server.doors.messages_events import MessagesWriter
from server.doors.messages_request import MessagesRequest, chat_fields
from server.doors.reading import checked, read_fields


def read_messages(body: bytes, arrival: Arrival) -> Asked:
    """The request in a body. Raises RequestError."""
    fields = read_fields(body)
    request = checked(MessagesRequest, fields)
    prompt = Prompt(chat_fields(request, fields), arrival.request_id)
    writer = MessagesWriter(Named(arrival.request_id, request.model, prompt))
    return Asked(request.model, prompt, with_mode(request.smallfirst, arrival.headers), writer)


MESSAGES = Door("/v1/messages", MessagesRequest, read_messages, anthropic_error)
