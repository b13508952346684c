"""A request whose headers are looked up, not searched for: a client may send dozens, and several are asked for."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope


class IndexedHeaders(Headers):
    """Headers by their names; of several with one name, the first."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=[*raw])
        self._first = dict(reversed(raw))

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower().encode("latin-1")].decode("latin-1")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower().encode("latin-1") in self._first

    def getlist(self, key: str) -> list[str]:
        """All values of that name."""
        return super().getlist(key) if key in self else []


class IndexedRequest(Request):
    """Starlette's, with such headers."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self._indexed = IndexedHeaders(scope["headers"])

    @property
    def headers(self) -> Headers:
        """They."""
        return self._indexed
