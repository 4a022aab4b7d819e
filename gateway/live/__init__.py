"""`/live`: a clinic's day as it happens, in one small page without a build step."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_SCRIPTS: Final = (
    "api", "board", "card", "column", "directory", "dom", "feed", "lanes", "live", "session", "story", "words",
)  # fmt: skip
_TYPES: Final = {
    "live.html": "text/html; charset=utf-8",
    "live.css": "text/css; charset=utf-8",
    "board.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **{f"{name}.js": "text/javascript; charset=utf-8" for name in _SCRIPTS},
}
# Only what this origin serves runs, and it speaks to this origin alone.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"cache-control": "no-cache", "content-security-policy": _POLICY}


def live_routes() -> list[BaseRoute]:
    """The page and its parts."""
    routes: list[BaseRoute] = [_route("/live", "live.html")]
    routes += [_route(f"/live/{name}", name) for name in _TYPES if name != "live.html"]
    return routes


def _route(path: str, name: str) -> Route:
    body = files(__package__).joinpath(name).read_bytes()

    async def serve(_: Request) -> Response:
        return Response(body, headers={"content-type": _TYPES[name], **_HEADERS})

    return Route(path, serve)
