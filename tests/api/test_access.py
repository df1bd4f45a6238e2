"""Keys: every scope at every route, and one subaccount never sees another."""

import re
from typing import Any

import pytest

from gateway.api.routes import ROUTES
from gateway.api.routing import Route
from tests.api.conftest import Place

REACHES = {"reader": 0, "platform": 1, "acme-admin": 2, "admin": 2}
RANK = {"freebusy:read": 0, "platform": 1, "admin": 2}


def path_of(route: Route, place: Place) -> str:
    """Fill a route's path with Ann and with ids that do not exist."""
    filled = route.path.replace("{principal}", place.ann.id)
    filled = filled.replace("{subaccount}", place.ann.subaccount_id)
    return re.sub(r"{\w+}", "nothing_here", filled)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_route_answers_exactly_the_scopes_it_names(place: Place, route: Route) -> None:
    """A body or query that is refused (422) shows that the key was let through."""
    path = path_of(route, place)
    junk: dict[str, Any] = {"json": {"junk": 1}} if route.method in ("POST", "PUT", "PATCH") else {}
    if route.method == "GET" and route.scope is not None:
        junk = {"params": {"junk": "1"}}
    if route.method == "DELETE":
        junk = {"params": {"junk": "1"}}
    answers = {}
    for name in REACHES:
        answer = await place.caller(name).send(route.method, path, **junk)
        answers[name] = answer.status
    anonymous = (await place.nobody.send(route.method, path, **junk)).status
    if route.scope is None:
        assert (anonymous, set(answers.values())) == (200, {200})
        return
    assert anonymous == 401
    assert answers == {
        name: 422 if rank >= RANK[route.scope] else 403 for name, rank in REACHES.items()
    }


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if "{principal}" in route.path],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_somebody_of_another_subaccount_is_not_there(place: Place, route: Route) -> None:
    good = {
        "freebusy": {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"},
        "explain": {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"},
    }
    bodies: dict[str, Any] = {
        "logins": {"kind": "device"},
        "{login}": {"label": "x"},
        "{principal}": {"name": "x"},
        "connection": {"email": "a@b.c", "app_password": "abcd-efgh-ijkl-mnop"},
        "credential": {"app_password": "abcd-efgh-ijkl-mnop"},
        "calendar-roles": {"linked": None, "conflicts": []},
        "{calendar}": {"detail": "busy"},
    }
    last = route.path.rsplit("/", 1)[1]
    options: dict[str, Any] = {"params": good.get(last, {})} if route.method == "GET" else {}
    if route.body is not None:
        options["json"] = (
            {"trust_for_s": 60} if route.method + last == "PATCHconnection" else bodies[last]
        )
    for principal, caller in ((place.bob.id, place.platform), ("p_unknown", place.platform)):
        path = re.sub(r"{\w+}", "nothing_here", route.path.replace("{principal}", principal))
        answer = await caller.send(route.method, path, **options)
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"], problem["detail"]) == (
            404,
            "not-found",
            "There is no such principal.",
        )


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer gw_nothing",
        "Bearer gw_\xe9",
        "Bearer " + "x" * 300,
    ],
)
async def test_what_is_no_key_is_401(place: Place, header: str) -> None:
    answer = await place.nobody.send("GET", "/v1/status", headers={"Authorization": header})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="gateway"'
    assert (await answer.json(content_type=None))["code"] == "unauthenticated"


async def test_lists_show_only_the_own_subaccount(place: Place) -> None:
    _, seen = await place.stranger.get("/v1/principals")
    assert [row["id"] for row in seen["principals"]] == [place.bob.id]
    _, seen = await place.stranger.get("/v1/principals", subaccount=place.ann.subaccount_id)
    assert seen["principals"] == []
    _, seen = await place.caller("acme-admin").get("/v1/keys")
    assert sorted(row["name"] for row in seen["keys"]) == ["acme-admin", "platform", "reader"]
    _, everyone = await place.admin.get("/v1/principals", subaccount=place.ann.subaccount_id)
    assert [row["id"] for row in everyone["principals"]] == [place.ann.id]
    for path in ("/v1/subaccounts/", "/v1/keys/"):
        method = "GET" if path.endswith("subaccounts/") else "DELETE"
        target = path + (place.bob.subaccount_id if method == "GET" else "key_nothing")
        assert (await place.caller("acme-admin").send(method, target)).status == 404
