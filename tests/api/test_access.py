"""Keys: every scope at every route, and one subaccount never sees another."""

import re
from typing import Any

import pytest

from gateway.api.http.routing import Route
from gateway.api.http.state import STATE
from gateway.api.routes.table import ROUTES
from gateway.store.tables import metadata
from tests.api.conftest import Place

REACHES = {"reader": 0, "platform": 1, "acme-admin": 2, "admin": 2}
RANK = {"freebusy:read": 0, "platform": 1, "admin": 2}


def path_of(route: Route, place: Place) -> str:
    """Fill a route's path with Ann and with ids that do not exist."""
    filled = route.path.replace("{principal}", place.ann.id)
    filled = filled.replace("{subaccount}", place.ann.subaccount_id)
    return re.sub(r"{\w+}", "nothing_here", filled)


async def test_every_route_answers_exactly_the_scopes_it_names(place: Place) -> None:
    """A query or body that is refused (422) shows that the key was let through."""
    answers, expected = {}, {}
    for route in ROUTES:
        name = f"{route.method} {route.path}"
        answers[name] = [
            (await caller.send(route.method, path_of(route, place), **junk(route))).status
            for caller in (place.nobody, *map(place.caller, REACHES))
        ]
        needed = None if route.scope is None else RANK[route.scope]
        refused = 400 if "/google/" in route.path else 422  # Google's clients know no 422
        expected[name] = (
            [404 if "{token}" in route.path else 200] * 5
            if needed is None
            else [401, *(refused if rank >= needed else 403 for rank in REACHES.values())]
        )
    assert {name: found for name, found in answers.items() if found != expected[name]} == {}


def junk(route: Route) -> dict[str, Any]:
    """Return what makes a call refused after its key was let through."""
    if route.scope is None:
        return {}
    has_body = route.method in ("POST", "PUT", "PATCH")
    return {"json": {"junk": 1}} if has_body else {"params": {"junk": "1"}}


async def test_somebody_of_another_subaccount_is_not_there(place: Place) -> None:
    wrong = {}
    for route in (route for route in ROUTES if "{principal}" in route.path):
        for principal in (place.bob.id, "p_unknown"):
            path = re.sub(r"{\w+}", "nothing_here", route.path.replace("{principal}", principal))
            answer = await place.platform.send(route.method, path, **wanted(route))
            problem = await answer.json(content_type=None)
            if (answer.status, problem["detail"]) != (404, "There is no such principal."):
                wrong[f"{route.method} {path}"] = (answer.status, problem)
    assert wrong == {}


WINDOW = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
QUERIES = {"freebusy": WINDOW, "explain": WINDOW}
BODIES: dict[str, Any] = {
    "POST logins": {"kind": "device"},
    "POST freebusy-tokens": {},
    "PATCH {login}": {"label": "x"},
    "PATCH {principal}": {"name": "x"},
    "POST connection": {"email": "a@b.c", "app_password": "abcd-efgh-ijkl-mnop"},
    "PATCH connection": {"trust_for_s": 60},
    "PUT credential": {"app_password": "abcd-efgh-ijkl-mnop"},
    "PUT working-hours": {"working_hours": {}},
    "PUT calendar-roles": {"linked": None, "conflicts": []},
    "PATCH calendar-roles": {"linked": None},
    "PATCH {calendar}": {"detail": "busy"},
}


def wanted(route: Route) -> dict[str, Any]:
    """Return a query or body that is right."""
    last = route.path.rsplit("/", 1)[1]
    if route.body is not None:
        return {"json": BODIES[f"{route.method} {last}"]}
    return {"params": QUERIES.get(last, {})}


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


def everything(place: Place) -> dict[str, list[Any]]:
    """Every row of the database, but for what says that a key was used."""
    with place.database.read() as session:
        return {
            name: sorted(map(repr, session.execute(table.select()).all()))
            for name, table in metadata.tables.items()
            if name not in ("api_keys", "rate_counts", "idempotency")
        }


async def test_a_foreign_key_leaves_no_trace(place: Place) -> None:
    """404 is not enough: nothing is noted, polled, read into memory or written either."""
    api, before = place.client.app[STATE], everything(place)
    for route in ROUTES:
        if route.scope in (None, "admin") or "{principal}" not in route.path:
            continue
        answer = await place.stranger.send(route.method, path_of(route, place), **wanted(route))
        name = f"{route.method} {route.path}"
        assert answer.status == 404, name
        assert not api.activity._seen, name
        assert not api.timelines._entries, name
    assert everything(place) == before


async def test_foreign_people_in_a_body_are_left_alone(place: Place) -> None:
    api, before = place.client.app[STATE], everything(place)
    slot = {"start": WINDOW["start"], "end": "2026-11-02T01:00:00Z"}
    for path, body in (
        ("/v1/holds", {"principal": place.ann.id, **slot}),
        ("/v1/appointments", {"principal": place.ann.id, **slot, "title": "x", "verify": "live"}),
        ("/v1/blocked-slots", {"principal": place.ann.id, **slot}),
        (
            "/v1/availability",
            {"principals": [place.ann.id], **slot, "duration_minutes": 30, "time_zone": "UTC"},
        ),
        ("/v1/freebusy", {"principals": [place.ann.id], **slot}),
    ):
        answer = await place.stranger.send("POST", path, json=body)
        found = await answer.json(content_type=None)
        assert answer.status in (404, 422) or place.ann.id in found["errors"], found
    assert not api.activity._seen
    assert not api.timelines._entries
    assert everything(place) == before
