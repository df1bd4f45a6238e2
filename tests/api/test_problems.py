"""The error contract: one shape, stable codes, pointers; nothing about the inside leaks."""

import asyncio
from typing import Any

import pytest

from gateway.api.app import build_api
from gateway.api.http.middleware import MAX_BODY
from gateway.api.wire import problems
from gateway.core import errors
from gateway.settings import load_settings
from tests.api.conftest import AiohttpClient, Caller, Place

WINDOW = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}


def pointers(problem: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the (pointer, code) of each fault."""
    return [(fault["pointer"], fault["code"]) for fault in problem["errors"]]


async def test_the_shape_of_a_problem(place: Place) -> None:
    answer = await place.platform.send("GET", "/v1/principals/nobody")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert await answer.json(content_type=None) == {
        "type": "/docs#not-found",
        "title": "Not found",
        "status": 404,
        "detail": "There is no such principal.",
        "code": "not-found",
        "request_id": answer.headers["X-Request-Id"],
    }


@pytest.mark.parametrize("given", ["https://x.example/api", "https://x.example/api/"])
async def test_links_hold_behind_a_proxy_with_a_prefix(
    place: Place, aiohttp_client: AiohttpClient, given: str
) -> None:
    settings = load_settings(api_public_url=given)
    app = build_api(settings, place.database, place.keyring, sync=None, clock=place.clock)  # type: ignore[arg-type]
    caller = Caller(await aiohttp_client(app), place.secrets["platform"])
    types = {}
    for path in ("/nowhere", "/v1/principals/nobody", "/v1/principals?limit=0"):
        types[path] = (await caller.get(path))[1]["type"]
    _, repeated = await caller.post("/v1/holds", {}, headers={"Idempotency-Key": "again"})
    assert {*types.values(), repeated["type"]} == {
        "https://x.example/api/docs#not-found",
        "https://x.example/api/docs#invalid-request",
    }
    for number in range(2):
        body = {"name": f"P{number}", "time_zone": "UTC"}
        assert (await caller.post("/v1/principals", body))[0] == 201
    answer = await caller.send("GET", "/v1/principals?limit=1")
    cursor = (await answer.json())["next"]
    assert answer.headers["Link"] == f'<?limit=1&cursor={cursor}>; rel="next"'
    _, document = await caller.get("/openapi.json")
    assert document["servers"] == [{"url": "."}]


async def test_the_callers_request_id_is_kept_when_it_is_harmless(place: Place) -> None:
    for given, kept in (("abcd-1234.x", True), ("short", False), ("x" * 65, False)):
        answer = await place.nobody.send("GET", "/healthz", headers={"X-Request-Id": given})
        assert (answer.headers["X-Request-Id"] == given) is kept


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/principals/a b", 404, "not-found"),
        ("GET", "/v1/principals/%00", 404, "not-found"),
        ("PUT", "/v1/status", 405, "method-not-allowed"),
        ("PATCH", "/healthz", 405, "method-not-allowed"),
    ],
)
async def test_unknown_addresses_and_methods(
    place: Place, method: str, path: str, status: int, code: str
) -> None:
    answer = await place.admin.send(method, path)
    problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"], problem["status"]) == (status, code, status)
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid-json"),
        (b"", "application/json", 400, "invalid-json"),
        (b'{"a": NaN}', "application/json", 400, "invalid-json"),
        (b'{"name": "\xff"}', "application/json", 400, "invalid-json"),
        (b'{"name": "\\ud800"}', "application/json", 422, "text-invalid"),
        (b"[" * 100_000, "application/json", 400, "invalid-json"),
        (b"name=x", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b"{}", "text/plain", 415, "unsupported-media-type"),
        (b" " * (MAX_BODY + 1), "application/json", 413, "body-too-large"),
        (b"[]", "application/json", 422, "invalid-request"),
        (b"null", "application/json", 422, "invalid-request"),
        (b'"x"', "application/json", 422, "invalid-request"),
    ],
)
async def test_bodies_that_cannot_be_read(
    place: Place, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = await place.admin.send(
        "POST", "/v1/subaccounts", data=body, headers={"Content-Type": kind}
    )
    problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (status, code)


async def test_every_culprit_is_named(place: Place) -> None:
    body = {"name": "", "time_zone": "Nowhere", "colour": "red", "email": 5}
    status, problem = await place.platform.post("/v1/principals", body)
    assert (status, problem["code"]) == (422, "time-zone-unknown")
    assert sorted(pointers(problem)) == [
        ("/colour", "unknown-field"),
        ("/email", "invalid"),
        ("/name", "invalid"),
        ("/time_zone", "time-zone-unknown"),
    ]


async def test_types_are_not_guessed(place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/logins"
    for body in ({"kind": "device", "show_mirrors": "yes"}, {"kind": "device", "label": 1}):
        assert (await place.platform.post(path, body))[0] == 422


@pytest.mark.parametrize("text", ["line\nbreak", "bell\x07", ""])
async def test_control_characters_are_refused(place: Place, text: str) -> None:
    status, problem = await place.admin.post("/v1/subaccounts", {"name": text})
    assert (status, pointers(problem)) == (422, [("/name", "invalid")])


@pytest.mark.rule("R24")
@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"start": "2026-11-02T00:00:00"}, "time-naive", "/start"),
        ({"end": "2026-11-03T00:00"}, "time-invalid", "/end"),
        ({"end": "2026-11-03"}, "time-invalid", "/end"),
        ({"start": "yesterday"}, "time-invalid", "/start"),
        ({"start": "2026-02-30T00:00:00Z"}, "time-invalid", "/start"),
        ({"start": "1890-01-01T00:00:00Z"}, "time-out-of-range", "/start"),
        ({"end": "9999-12-31T23:59:59-23:59"}, "time-out-of-range", "/end"),
        ({"end": "2026-11-02T00:00:00Z"}, "window-reversed", "/end"),
        ({"end": "2026-11-01T00:00:00Z"}, "window-reversed", "/end"),
        ({"end": "2027-11-03T00:00:01Z"}, "window-too-wide", "/end"),
        (
            {"start": "2032-01-01T00:00:00Z", "end": "2032-01-02T00:00:00Z"},
            "window-too-far",
            "/end",
        ),
        (
            {"start": "2001-01-01T00:00:00Z", "end": "2001-01-02T00:00:00Z"},
            "window-too-far",
            "/start",
        ),
        ({"time_zone": "Mars/Base"}, "time-zone-unknown", "/time_zone"),
        ({"on_unknown": "guess"}, "invalid-request", "/on_unknown"),
        ({"on_tentative": "maybe"}, "invalid-request", "/on_tentative"),
        ({"group_by": "week"}, "invalid-request", "/group_by"),
        ({"limit": "5"}, "parameter-unknown", "/limit"),
    ],
)
async def test_windows_that_cannot_be_asked(
    place: Place, changes: dict[str, str], code: str, pointer: str
) -> None:
    path = f"/v1/principals/{place.ann.id}/freebusy"
    status, problem = await place.reader.get(path, **{**WINDOW, **changes})
    assert (status, problem["code"]) == (422, code)
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    if code != "parameter-unknown":
        body = {"principals": [place.ann.id], **WINDOW, **changes}
        status, problem = await place.reader.post("/v1/freebusy", body)
        assert (status, problem["code"]) == (422, code)
        assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


async def test_a_missing_and_a_repeated_parameter(place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/freebusy"
    status, problem = await place.reader.get(path, start=WINDOW["start"])
    assert (status, pointers(problem)) == (422, [("/end", "missing")])
    answer = await place.reader.send("GET", path, params=[*WINDOW.items(), ("end", WINDOW["end"])])
    problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (422, "parameter-repeated")


@pytest.mark.parametrize(
    ("principals", "code"),
    [
        ([], "too-few-items"),
        (["p_x"] * 201, "too-many-items"),
        ("p_x", "invalid-request"),
        (["not an id"], "invalid-request"),
    ],
)
async def test_too_few_and_too_many_principals(place: Place, principals: object, code: str) -> None:
    status, problem = await place.reader.post("/v1/freebusy", {"principals": principals, **WINDOW})
    assert (status, problem["code"]) == (422, code)


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1-x", "99999999999999-x"])
async def test_a_cursor_nobody_gave_out(place: Place, cursor: str) -> None:
    status, problem = await place.platform.get("/v1/principals", cursor=cursor)
    assert (status, problem["code"]) == (422, "cursor-invalid")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "ten", "1_0", " 5", "\u0665"])
async def test_a_page_size_that_is_none(place: Place, limit: str) -> None:
    status, problem = await place.platform.get("/v1/principals", limit=limit)
    assert (status, [fault["pointer"] for fault in problem["errors"]]) == (422, ["/limit"])


async def test_a_body_where_none_is_taken(place: Place) -> None:
    path = f"/v1/principals/{place.ann.id}/connection"
    for method in ("POST", "DELETE"):
        target = path + "/sync" if method == "POST" else path
        status, problem = await place.platform.call(method, target, {"force": True})
        assert (status, problem["code"]) == (422, "body-not-expected")


def test_every_error_of_the_tree_has_a_status() -> None:
    def below(kind: type[Exception]) -> list[type[Exception]]:
        return [kind, *(one for child in kind.__subclasses__() for one in below(child))]

    tree = [kind for kind in below(errors.GatewayError) if kind.__module__ == errors.__name__]
    assert {kind.__name__: problems.status_of(kind.__new__(kind)) for kind in tree} == {
        "GatewayError": 500,
        "Refused": 422,
        "InvalidInput": 422,
        "InvalidCalendarData": 422,
        "NotAuthenticated": 401,
        "NotAllowed": 403,
        "CalendarStays": 403,
        "OverQuota": 422,
        "NotFound": 404,
        "ReferenceNotFound": 404,
        "StateConflict": 409,
        "TooManyRequests": 429,
        "PassingConflict": 409,
        "ExternalIdTaken": 409,
        "ScheduleUnreadable": 500,
        "SlotTaken": 409,
        "UidTaken": 409,
        "UpstreamError": 502,
        "UpstreamUnreachable": 502,
        "UpstreamThrottled": 503,
        "CredentialRejected": 422,
        "UpstreamForbidden": 502,
        "UpstreamNotFound": 502,
        "UpstreamPrecondition": 502,
        "SyncTokenExpired": 502,
        "NotICloud": 422,
        "StoreError": 500,
        "StoreBusy": 503,
        "StoreFull": 507,
        "KeyMismatch": 500,
        "SchemaMismatch": 500,
        "CannotListen": 500,
        "RunCrashed": 500,
        "SecretUnreadable": 409,
        "VerificationFailed": 502,
    }


async def test_a_crash_tells_nothing_but_its_request_id(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("gateway.store.outbox.overview.count_principals", crash)
    answer = await place.platform.send("GET", "/v1/status")
    problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (500, "internal-error")
    assert "hunter2" not in str(problem)
    assert problem["request_id"] == answer.headers["X-Request-Id"]


async def test_an_outdated_schema_is_not_ready(place: Place) -> None:
    with place.database.write() as session:
        session.exec_driver_sql("UPDATE alembic_version SET version_num = 'older'")
    status, told = await place.nobody.get("/readyz")
    async with asyncio.timeout(10):
        while status == 200:  # it is looked at once a second at most
            await asyncio.sleep(0.1)
            status, told = await place.nobody.get("/readyz")
    assert (status, told["status"]) == (503, "schema-newer")
    assert await place.nobody.get("/healthz") == (200, {"status": "ok"})


async def test_a_current_schema_is_ready(place: Place) -> None:
    assert await place.nobody.get("/readyz") == (200, {"status": "ready"})
