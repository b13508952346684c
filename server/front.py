"""A short way to the routes that every request for an answer takes: by the path alone, past what the framework does for
parameters, dependencies and files, which these routes have none of. Knows nothing of what they do."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.request import IndexedRequest

Endpoint = Callable[[Request], Awaitable[Response]]
Wording = Callable[[Request, Exception], Awaitable[Response]]


class Front:
    """Stands before an application: a POST to one of these paths is answered by its endpoint, all else by the
    application. What an endpoint raises of these kinds is worded; what else it raises goes on to the last resort."""

    def __init__(
        self, app: ASGIApp, endpoints: Mapping[str, Endpoint], wordings: Mapping[type[Exception], Wording]
    ) -> None:
        self._app = app
        self._endpoints = endpoints
        self._wordings = wordings
        self._worded = tuple(wordings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_asked = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = self._endpoints.get(scope["path"]) if is_asked else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = IndexedRequest(scope, receive)
        try:
            response = await endpoint(request)
        except self._worded as error:
            response = await self._wording_of(error)(request, error)
        await response(scope, receive, send)

    def _wording_of(self, error: Exception) -> Wording:
        return next(wording for kind, wording in self._wordings.items() if isinstance(error, kind))
