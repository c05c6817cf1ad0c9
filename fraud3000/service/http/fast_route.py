"""A short way to one route: to find it, and to solve what its function asks for, costs FastAPI half of a short request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fraud3000.service.http.parsing import answer_to, refuse_unknown_query

Handler = Callable[[Request], Awaitable[Response]]
Asked = TypeVar("Asked", bound=BaseModel)


class FastRoute:
    """Answers POST requests to a path by a function of the request; all others go their way.

    FastAPI has a route of that path too, which describes it.
    """

    def __init__(self, app: ASGIApp, path: str, handler: Handler) -> None:
        self._app, self._path, self._handler = app, path, handler
        self._route = Route(path, handler, methods=["POST"])  # for whoever asks which one it was

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        request = Request(scope, receive, send)
        try:
            answer = await self._handler(request)
        except Exception as error:  # noqa: BLE001 - raised again where it is none of ours
            answer = await answer_to(request, error)
        await answer(scope, receive, send)


def query(request: Request, model: type[Asked]) -> Asked:
    """The parameters of a request's query, as FastAPI would read them.

    Raises
    ------
    Refused
        One is unknown or given twice.
    RequestValidationError
        One is wrong.
    """
    if not request.scope["query_string"]:
        return model()
    refuse_unknown_query(request)
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        wrong = [{**one, "loc": ("query", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(wrong) from None
