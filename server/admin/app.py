"""The application for operators: behind a listener of its own, which clients need not reach."""

from fastapi import FastAPI
from starlette.datastructures import State

from server.admin.keys import change_key, create_key, get_key, list_keys, renew_key, revoke_key
from server.admin.usage import get_usage
from server.listing import exposition, health, list_cascades, list_pools, metrics, ready
from server.refusing import refusing
from server.settings.schema import Settings


def create_admin_app(state: State) -> FastAPI:
    """What operators ask of the gateway whose state it is."""
    app = FastAPI(title="smallfirst for operators", openapi_url=None, redirect_slashes=False)
    app.state = state
    settings: Settings = state.settings
    add_admin_routes(app)
    app.add_api_route("/health", health, methods=["GET", "HEAD"])
    app.add_api_route("/ready", ready, methods=["GET", "HEAD"])
    app.add_api_route("/v1/pools", list_pools, methods=["GET"])
    app.add_api_route("/v1/cascades", list_cascades, methods=["GET"])
    app.add_api_route("/metrics", exposition if settings.server.admin.open_metrics else metrics, methods=["GET"])
    refusing(app)
    return app


def add_admin_routes(app: FastAPI) -> None:
    """What only operators ask."""
    app.add_api_route("/admin/usage", get_usage, methods=["GET"])
    app.add_api_route("/admin/keys", list_keys, methods=["GET"])
    app.add_api_route("/admin/keys", create_key, methods=["POST"])
    app.add_api_route("/admin/keys/{identity}", get_key, methods=["GET"])
    app.add_api_route("/admin/keys/{identity}", change_key, methods=["PATCH"])
    app.add_api_route("/admin/keys/{identity}", revoke_key, methods=["DELETE"])
    app.add_api_route("/admin/keys/{identity}/renew", renew_key, methods=["POST"])
