"""What is not an RPC: health, documents, and the answer to every unknown address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from gateway.messages import JSON, Reply, json_reply
from gateway.problems import HttpProblem, MethodNotAllowed, NoRoute

Readiness = Callable[[], Awaitable[Mapping[str, bool]]]

_DOCUMENT_CACHE = "public, max-age=3600"


class Health:
    """Liveness and readiness. A process that drains is alive and not ready."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self.is_draining = False

    def routes(self) -> list[BaseRoute]:
        """The two addresses."""
        return [Route("/healthz", self._healthz), Route("/readyz", self._readyz)]

    async def _healthz(self, _: Request) -> Response:
        return _response(json_reply(200, {"status": "ok"}, {"cache-control": "no-store"}))

    async def _readyz(self, _: Request) -> Response:
        parts = dict(await self._readiness())
        is_ready = all(parts.values()) and not self.is_draining
        status = "draining" if self.is_draining else "ready" if is_ready else "waiting"
        value = {"status": status, "parts": parts}
        return _response(json_reply(200 if is_ready else 503, value, {"cache-control": "no-store"}))


def document_route(
    path: str, body: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> Route:
    """A fixed document at `path`."""

    async def serve(_: Request) -> Response:
        return Response(
            body, media_type=media_type, headers={"cache-control": _DOCUMENT_CACHE, **(headers or {})}
        )

    return Route(path, serve)


class Pages(Router):
    """The application for everything that no contract routes; it raises an HttpProblem for what it does not serve."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        # A redirect would repeat the host that the client named.
        super().__init__(routes, redirect_slashes=False, default=_refuse_unknown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope. Raises NoRoute and MethodNotAllowed."""
        # With an application around them, routes raise what they refuse.
        scope["app"] = self
        try:
            await super().__call__(scope, receive, send)
        except HTTPException as error:
            raise _problem_of(error) from None


async def _refuse_unknown(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    raise NoRoute


def _problem_of(error: HTTPException) -> HttpProblem:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET")
        return MethodNotAllowed([method.strip() for method in allowed.split(",")])
    problem = HttpProblem(error.detail)
    problem.status = error.status_code
    return problem


def _response(reply: Reply) -> Response:
    return Response(reply.body, status_code=reply.status, headers=reply.headers)


_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def document_routes() -> list[BaseRoute]:
    """The documents of the API, and a page that shows them; all of it from this package, none from elsewhere."""
    package = files("gateway")
    page = package / "docs_page"
    policy = {"content-security-policy": _PAGE_POLICY}
    return [
        document_route("/openapi.json", (package / "documents" / "openapi.json").read_bytes(), JSON),
        document_route("/asyncapi.json", (package / "documents" / "asyncapi.json").read_bytes(), JSON),
        document_route("/docs", (page / "index.html").read_bytes(), "text/html", policy),
        document_route("/docs/app.js", (page / "app.js").read_bytes(), "text/javascript"),
        document_route("/docs/style.css", (page / "style.css").read_bytes(), "text/css"),
    ]
