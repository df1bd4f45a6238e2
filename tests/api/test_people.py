"""Subaccounts, people, logins and keys over HTTP."""

import pytest

from gateway.store.access import principals
from tests.api.conftest import Place


async def test_a_subaccount_is_made_changed_listed_and_erased(place: Place) -> None:
    status, made = await place.admin.post("/v1/subaccounts", {"name": "Coda", "external_id": "c1"})
    assert status == 201
    path = f"/v1/subaccounts/{made['id']}"
    assert await place.admin.get(path) == (200, made)
    changed = {**made, "name": "Coda GmbH", "external_id": None}
    assert await place.admin.call("PATCH", path, {"name": "Coda GmbH", "external_id": None}) == (
        200,
        changed,
    )
    status, listed = await place.admin.get("/v1/subaccounts")
    assert (status, listed["next"]) == (200, None)
    assert [row for row in listed["subaccounts"] if row["id"] == made["id"]] == [changed]
    assert await place.admin.call("DELETE", path) == (204, None)
    status, problem = await place.admin.get(path)
    assert (status, problem["code"]) == (404, "not-found")


async def test_lists_are_cut_into_pages(place: Place) -> None:
    for number in range(5):
        await place.platform.post("/v1/principals", {"name": f"P{number}", "time_zone": "UTC"})
    names: list[str] = []
    path, params = "/v1/principals", {"limit": "2"}
    for _ in range(3):
        answer = await place.platform.send("GET", path, params=params)
        page = await answer.json()
        names += [row["name"] for row in page["principals"]]
        assert ("Link" in answer.headers) == (page["next"] is not None)
        params = {"limit": "2", "cursor": page["next"]}
    assert sorted(names) == ["Ann", *(f"P{number}" for number in range(5))]


async def test_a_person_is_made_with_a_calendar_home(both: Place) -> None:
    body = {"name": "Cleo", "time_zone": "Asia/Tokyo", "email": "cleo@example.org"}
    status, made = await both.platform.post("/v1/principals", body)
    assert status == 201
    assert made == {
        "id": made["id"],
        "subaccount": both.ann.subaccount_id,
        "name": "Cleo",
        "email": "cleo@example.org",
        "external_id": None,
        "time_zone": "Asia/Tokyo",
        "caldav": f"/{made['id']}/",
        "created_at": "2026-10-26T07:33:20Z",
    }
    status, changed = await both.platform.call(
        "PATCH", f"/v1/principals/{made['id']}", {"time_zone": "UTC", "email": None}
    )
    assert (status, changed) == (200, {**made, "time_zone": "UTC", "email": None})
    assert await both.platform.call("DELETE", f"/v1/principals/{made['id']}") == (204, None)


@pytest.mark.parametrize("zone", ["Mars/Base", "Europe", "../etc/passwd", "", "UTC+1", 5])
async def test_an_unknown_zone_is_refused(place: Place, zone: object) -> None:
    status, problem = await place.platform.post("/v1/principals", {"name": "X", "time_zone": zone})
    assert (status, problem["code"]) == (422, "time-zone-unknown")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/time_zone"]


async def test_an_unbound_key_names_the_subaccount(place: Place) -> None:
    status, problem = await place.admin.post("/v1/principals", {"name": "X", "time_zone": "UTC"})
    assert (status, problem["code"]) == (422, "subaccount-required")


async def test_a_login_works_and_is_revoked(place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/logins"
    status, made = await place.platform.post(path, {"kind": "device", "label": "iPhone"})
    assert (status, made["caldav"]) == (201, f"/{place.ann.id}/")
    password = made.pop("password")
    del made["caldav"]
    with place.database.read() as session:
        assert principals.verify_login(session, made["login"], password) is not None
    assert await place.platform.get(path) == (200, {"logins": [made]})
    status, changed = await place.platform.call(
        "PATCH", f"{path}/{made['id']}", {"show_mirrors": False}
    )
    assert (status, changed) == (200, {**made, "show_mirrors": False})
    assert await place.platform.call("DELETE", f"{path}/{made['id']}") == (204, None)
    with place.database.read() as session:
        assert principals.verify_login(session, made["login"], password) is None


async def test_a_login_of_somebody_else_cannot_be_reached_through_ones_own(place: Place) -> None:
    _, bobs = await place.stranger.post(f"/v1/principals/{place.bob.id}/logins", {"kind": "device"})
    path = f"/v1/principals/{place.ann.id}/logins/{bobs['id']}"
    assert (await place.platform.call("PATCH", path, {"label": "mine"}))[0] == 404
    assert (await place.platform.call("DELETE", path))[0] == 404


async def test_a_key_works_until_it_is_revoked(place: Place) -> None:
    status, made = await place.admin.post(
        "/v1/keys",
        {"name": "page", "scopes": ["freebusy:read"], "subaccount": place.ann.subaccount_id},
    )
    assert status == 201
    place.secrets["new"] = made.pop("secret")
    path = f"/v1/principals/{place.ann.id}/freebusy"
    window = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    assert (await place.caller("new").get(path, **window))[0] == 200
    assert made in (await place.admin.get("/v1/keys"))[1]["keys"]
    assert await place.admin.call("DELETE", f"/v1/keys/{made['id']}") == (204, None)
    assert (await place.caller("new").get(path, **window))[0] == 401


@pytest.mark.rule("R46")
async def test_the_last_key_that_may_do_everything_stays(place: Place) -> None:
    bound = {"name": "bound", "scopes": ["admin"], "subaccount": place.ann.subaccount_id}
    assert (await place.admin.post("/v1/keys", bound))[0] == 201
    listed = (await place.admin.get("/v1/keys"))[1]["keys"]
    (last,) = (k["id"] for k in listed if k["subaccount"] is None and "admin" in k["scopes"])
    status, problem = await place.admin.call("DELETE", f"/v1/keys/{last}")
    assert (status, problem["code"]) == (409, "last-admin-key")
    assert "gateway keys --add admin" in problem["detail"]
    another = {"name": "another", "scopes": ["admin", "platform"]}
    assert (await place.admin.post("/v1/keys", another))[0] == 201
    assert await place.admin.call("DELETE", f"/v1/keys/{last}") == (204, None)
    assert (await place.admin.get("/v1/keys"))[0] == 401


async def test_a_bound_admin_never_gives_more_than_it_has(place: Place) -> None:
    bound = place.caller("acme-admin")
    body = {"name": "k", "scopes": ["admin"], "subaccount": place.bob.subaccount_id}
    status, problem = await bound.post("/v1/keys", body)
    assert (status, problem["code"]) == (404, "not-found")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/subaccount"]
    status, made = await bound.post("/v1/keys", {"name": "k", "scopes": ["admin"]})
    assert (status, made["subaccount"]) == (201, place.ann.subaccount_id)
    assert (await bound.post("/v1/subaccounts", {"name": "mine"}))[0] == 403
    status, listed = await bound.get("/v1/subaccounts")
    assert [row["name"] for row in listed["subaccounts"]] == ["Acme"]


async def test_only_an_admin_key_may_be_unbound(place: Place) -> None:
    status, problem = await place.admin.post("/v1/keys", {"name": "k", "scopes": ["platform"]})
    assert (status, problem["code"]) == (422, "subaccount-required")
