"""How uvicorn is to listen: within bounds, with the operator's certificate, and without telling more than it must."""

import ssl
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from server.connection import Bounds, protocol_of
from server.settings.server import ServerSettings


def listener_of(app: FastAPI, server: ServerSettings, *, host: str, port: int, grace_s: float) -> uvicorn.Config:
    """What answers there; `grace_s` is how long its answers may take to end when it is stopped."""
    tls = server.tls
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol_of(Bounds(server.max_header_bytes, server.headers_s, server.send_s)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(grace_s),
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        ssl_context_factory=None if tls is None else modern,
    )


def modern(_config: uvicorn.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """TLS 1.2 or newer, whatever the system's own minimum is."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
