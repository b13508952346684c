"""Where a server is, how to talk to it, and for how long. Sends nothing itself."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Dialect = Literal["vllm", "openai"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a server may take, in seconds. `first_token_s` and `idle_s` are for streams; an answer in one piece
    has `total_s` alone."""

    connect_s: float = 2.0
    first_token_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server is and how to talk to it: the model's name there, our key, and whose extras it knows; `address`
    is the one of several addresses behind the URL's name that is meant; `priorities`: it schedules by them."""

    url: str
    model: str
    api_key: str | None = None
    dialect: Dialect = "vllm"
    address: str | None = None
    priorities: bool = False

    @property
    def name(self) -> str:
        """What it is called in lists and metrics: no key is ever in it."""
        return self.reached_url if self.address is None else f"{self.url} ({self.address})"

    @property
    def reached_url(self) -> str:
        """The URL that is connected to."""
        if self.address is None:
            return self.url
        parts = urlsplit(self.url)
        host = f"[{self.address}]" if ":" in self.address else self.address
        port = "" if parts.port is None else f":{parts.port}"
        return urlunsplit(parts._replace(netloc=f"{host}{port}"))

    @property
    def tls_name(self) -> str | None:
        """The name that the server's certificate must bear, where the URL connected to does not hold it."""
        is_renamed = self.address is not None and self.url.startswith("https:")
        return urlsplit(self.url).hostname if is_renamed else None

    @property
    def headers(self) -> dict[str, str]:
        """What every request to this server carries."""
        headers = {"content-type": "application/json"}
        if self.address is not None:
            headers["host"] = urlsplit(self.url).netloc
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        return headers
