"""One table of routes that both validates and documents (OpenAPI is rendered from it).

Each call goes the same way: authenticate, check the scope, read query and body with the models,
look the Idempotency-Key up, call the handler, render. Handlers parse nothing and catch nothing.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.api.http.auth import authenticate, check_scope
from gateway.api.http.middleware import answer_unmatched, expect_later, framed, read_body
from gateway.api.http.replay import Replay
from gateway.api.http.state import RATE_LIMIT, STATE, ApiState
from gateway.api.process.limits import name_public
from gateway.api.wire.problems import (
    UnsupportedMediaType,
    invalid_request,
)
from gateway.api.wire.shapes import NoQuery, Query, Request, Scope
from gateway.api.wire.texts import check_parameter, read_json, read_query
from gateway.core.errors import InvalidInput, NotAuthenticated
from gateway.core.intervals import Interval
from gateway.services.access.people import PersonRef
from gateway.store.access.keys import ApiKey
from gateway.store.engine import Session

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Request | None)

JSON = "application/json"
Rendered = BaseModel | Mapping[str, Any] | None
Result = Rendered | web.StreamResponse


@dataclass(slots=True)
class Call(Generic[Q, B]):
    """One authenticated, validated request; ``now`` is UTC epoch seconds."""

    request: web.Request
    route: "Route"
    api: ApiState
    query: Q
    body: B
    now: int
    _key: ApiKey | None = None
    _replay: Replay | None = None

    @property
    def key(self) -> ApiKey:
        """The API key of the caller; public routes have none."""
        if self._key is None:
            raise NotAuthenticated("This needs an API key.")
        return self._key

    @property
    def bound(self) -> str | None:
        """The subaccount the caller's key is bound to; None sees all of them."""
        return self.key.subaccount_id

    @property
    def person(self) -> PersonRef:
        """The person the path names, as this caller may see one."""
        return PersonRef(self.path("principal"), self.bound)

    def path(self, name: str) -> str:
        """Return a path parameter."""
        return self.request.match_info[name]

    @property
    def is_replayable(self) -> bool:
        """Whether the answer is kept under an Idempotency-Key, so must come as a whole."""
        return self._replay is not None

    async def read(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await ``function(session, …)`` in a read unit."""
        return await self.api.threads.read(function, *args, **kwargs)

    async def write(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await ``function(session, …)`` in a write unit and nothing else."""
        return await self.api.threads.write(function, *args, **kwargs)

    async def reach(self, principal_ids: Sequence[str], window: Interval) -> None:
        """Have what the key can see of these people known over ``window``, if that is quick."""
        bound = None if self._key is None else self._key.subaccount_id
        await self.api.beyond_window.until(principal_ids, window, now=self.now, subaccount_id=bound)

    async def answer(
        self,
        show: Callable[[T], R],
        function: Callable[Concatenate[Session, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Await a use case in a write unit and return what ``show`` makes of its result.

        That is the answer: under an Idempotency-Key it is recorded in the unit that does the work,
        and both commit together or not at all (R29).
        """
        return await self.api.threads.write(self._record, show, function, args, kwargs)

    def _record(
        self,
        session: Session,
        show: Callable[[T], R],
        function: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> R:
        shown = show(function(session, *args, **kwargs))
        if self._replay is not None:
            body = None if self.route.secret else render_json(shown)
            self._replay.record(session, self.route.status, body)
        return shown

    async def commit(
        self, function: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await a use case whose result is the answer as it stands (see :meth:`answer`)."""
        return await self.answer(_as_it_is, function, *args, **kwargs)


def _as_it_is(result: T) -> T:
    return result


AnyCall = Call[Any, Any]
Handler = Callable[[AnyCall], Awaitable[Result]]
Recall = Callable[[web.Request, ApiState, ApiKey, Any, int], web.StreamResponse | None]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: what it takes, what it answers, who may call it.

    ``scope`` None is public. ``secret`` answers are never stored for replay. ``media`` is the
    media type of an answer without a model. ``conditional`` answers know If-None-Match,
    ``upstream`` ones ask iCloud. ``problems`` are codes worth documenting. ``recall`` is asked
    before the handler and without waiting for anything: it answers from memory, or not (None).
    ``limited`` public answers are limited by the caller's address.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    scope: Scope | None = "platform"
    query: type[Query] = NoQuery
    body: type[Request] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    secret: bool = False
    media: str = JSON
    conditional: bool = False
    upstream: bool = False
    problems: tuple[str, ...] = field(default=())
    recall: Recall | None = None
    limited: bool = False


PATH_PARAMETER = "[A-Za-z0-9_-]{1,64}"


def mount(app: web.Application, routes: Iterable[Route]) -> None:
    """Register the routes; ``{name}`` in a path accepts an id and nothing else."""
    api = app[STATE]
    for route in routes:
        path = route.path.replace("}", f":{PATH_PARAMETER}}}")
        handler = framed(route.path, _endpoint(route, api))
        app.router.add_route(route.method, path, handler, expect_handler=expect_later)


def mount_rest(app: web.Application) -> None:
    """Register what answers for addresses and methods that nothing else answers for; the last."""
    handler = framed("none", answer_unmatched)
    app.router.add_route("*", "/{rest:.*}", handler, expect_handler=expect_later)


def _endpoint(
    route: Route, api: ApiState
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    has_body = route.method in _WITH_BODY
    recall, signals = route.recall, api.signals
    is_public = route.scope is None and "{token}" in route.path
    limits = api.public_limits if route.scope is None else api.limits

    async def endpoint(request: web.Request) -> web.StreamResponse:
        key = None
        now = api.clock()
        if route.scope is not None:
            api.refresh()
            key = signals.keys.get(request.headers.get("Authorization", ""))
            if key is None:
                key = await authenticate(request, signals, api.threads, api.guesses)
            check_scope(key, route.scope)
            api.activity.note_key(key)
            if limits.quota:
                request[RATE_LIMIT] = limits.policy, limits.take(key.id, now)
        elif is_public:
            api.guesses.check(request, request.match_info["token"])
            if limits.quota:
                caller = name_public(request.match_info["token"])
                request[RATE_LIMIT] = limits.policy, limits.take(caller, now)
        elif route.limited and limits.quota:
            caller = f"address {api.guesses.network(request)}"
            request[RATE_LIMIT] = limits.policy, limits.take(caller, now)
        query = _parse_query(route.query, request.rel_url.raw_query_string)
        if recall is not None and key is not None:
            ready = recall(request, api, key, query, int(now))
            if ready is not None:
                return ready
        if not has_body:
            call = Call(request, route, api, query, None, int(now), key)
            return _respond(route, await route.handler(call))
        raw = await read_body(request)
        body = _read_body(request, route, raw)
        return await _carry_out(Call(request, route, api, query, body, int(now), key), raw)

    return endpoint


_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


async def _carry_out(call: Call[Any, Any], raw: bytes) -> web.StreamResponse:
    """Run the handler, once per Idempotency-Key."""
    route = call.route
    if route.method != "POST" or call._key is None:
        return _respond(route, await route.handler(call))
    replay = Replay.of(call.request, call._key, call.api, raw, call.now)
    if replay is None:
        return _respond(route, await route.handler(call))
    known = await replay.begin()
    if known is not None:
        return known
    call._replay = replay
    async with replay:
        response = _respond(route, await route.handler(call))
        await replay.finish(response, secret=route.secret)
        return response


@lru_cache(maxsize=4096)
def _parse_query(model: type[Query], raw: str) -> Query:
    """Validate a query string; pages ask the same windows again and again, models are frozen."""
    given: dict[str, str] = {}
    for name, value in read_query(raw):
        if name not in model.model_fields:
            raise InvalidInput(
                f"There is no query parameter {name} here.",
                code="parameter-unknown",
                pointer=f"/{name}",
            )
        if name in given:
            raise InvalidInput(
                f"The query parameter {name} is given more than once.",
                code="parameter-repeated",
                pointer=f"/{name}",
            )
        check_parameter(name, value)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid_request(error) from None


def _read_body(request: web.Request, route: Route, raw: bytes) -> Request | None:
    if route.body is None:
        if raw.strip() not in (b"", b"{}"):
            raise InvalidInput("This call takes no body.", code="body-not-expected")
        return None
    if request.content_type != JSON:
        raise UnsupportedMediaType("Send the body as Content-Type: application/json.")
    try:
        return route.body.model_validate(read_json(raw))
    except ValidationError as error:
        raise invalid_request(error) from None


def render_json(result: object) -> bytes:
    """Serialise an answer."""
    plain = result.model_dump() if isinstance(result, BaseModel) else result
    return b"" if plain is None else orjson.dumps(plain)


def json_answer(
    body: Rendered, *, headers: Mapping[str, str] | None = None, status: int = 200
) -> web.Response:
    """Render an answer that needs headers of its own."""
    return web.Response(status=status, body=render_json(body), content_type=JSON, headers=headers)


def json_body(body: bytes) -> web.Response:
    """Return an answer that is JSON already."""
    return web.Response(body=body, content_type=JSON)


def _respond(route: Route, result: Result) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    if result is None:
        return web.Response(status=route.status if route.status != 200 else 204)
    return web.Response(status=route.status, body=render_json(result), content_type=JSON)
