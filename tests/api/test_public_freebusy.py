"""The Freebusy Read URL and its tokens (CalConnect CC/S 0903:2009; R22, R23, R26)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar

from gateway.api.freebusy.public import _preferred
from gateway.api.freebusy.public_shapes import FreeBusyTokenList, FreeBusyTokenWithPath
from gateway.api.routes.table import ROUTES
from gateway.core.intervals import merge
from gateway.store import booking_tables
from tests.api.conftest import NOW, Place
from tests.api.test_schedules import equip
from tests.services.people import DAY, HOUR, MONDAY, meeting

JSON = {"Accept": "application/json"}


async def make(place: Place, **body: Any) -> dict[str, Any]:
    """Create a token of Ann's."""
    status, made = await place.platform.post(
        f"/v1/principals/{place.ann.id}/freebusy-tokens", {"detail": "exact", **body}
    )
    assert status == 201, made
    return dict(made)


async def ask(
    place: Place, path: str, headers: dict[str, str] | None = None, **params: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Ask without a key."""
    answer = await place.nobody.send("GET", path, params=params, headers=headers or {})
    return answer.status, answer.headers, await answer.read()


async def ask_json(place: Place, path: str, **params: str) -> dict[str, Any]:
    """Ask for JSON."""
    answer = await place.nobody.send("GET", path, params=params, headers=JSON)
    found = await answer.json()
    assert answer.status == 200, found
    return dict(found)


def periods(body: bytes) -> list[tuple[str, int, int]]:
    """Read a VFREEBUSY with a foreign parser."""
    (component,) = Calendar.from_ical(body).walk("VFREEBUSY")
    rows = component.get("FREEBUSY", [])
    found = []
    for row in rows if isinstance(rows, list) else [rows]:
        for start, end in [(item.start, item.end) for item in getattr(row, "dts", [row])]:
            found.append((row.params["FBTYPE"], int(start.timestamp()), int(end.timestamp())))
    return found


@pytest.mark.rule("R22", "R23")
async def test_without_parameters_it_is_six_weeks_of_text_calendar(both: Place) -> None:
    person = equip(both)
    person.put("home", meeting(MONDAY + 9 * HOUR))
    person.put("work", meeting(MONDAY + 11 * HOUR, 1, "STATUS:TENTATIVE"))
    token = await make(both)
    status, headers, body = await ask(both, token["path"])
    assert (status, headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    lines = body.decode().split("\r\n")
    midnight = NOW - NOW % DAY
    assert [line for line in lines if line.startswith(("DTSTART", "DTEND", "FREEBUSY"))] == [
        "DTSTART:20261026T000000Z",
        "DTEND:20261207T000000Z",
        "FREEBUSY;FBTYPE=BUSY:20261102T090000Z/20261102T100000Z",
        "FREEBUSY;FBTYPE=BUSY-TENTATIVE:20261102T110000Z/20261102T120000Z",
    ]
    assert (lines.count("BEGIN:VFREEBUSY"), midnight) == (1, 1_792_972_800)
    assert {line.partition(":")[0] for line in lines} & {"METHOD", "ORGANIZER", "SUMMARY"} == set()


async def test_json_by_header_or_by_parameter(place: Place) -> None:
    equip(place).put("home", meeting(MONDAY + 9 * HOUR))
    token = await make(place)
    window = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    expected = {
        "start": "2026-11-02T00:00:00Z",
        "end": "2026-11-03T00:00:00Z",
        "complete": True,
        "busy": [
            {"start": "2026-11-02T09:00:00Z", "end": "2026-11-02T10:00:00Z", "status": "busy"}
        ],
    }
    assert await ask_json(place, token["path"], **window) == expected
    answer = await place.nobody.send(
        "GET", token["path"], params={**window, "format": "application/json"}
    )
    assert await answer.json() == expected
    _, headers, _ = await ask(place, token["path"], JSON, **window, format="text/calendar")
    assert headers["Content-Type"] == "text/calendar; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "text/calendar"),
        ("*/*", "text/calendar"),
        ("text/*", "text/calendar"),
        ("image/png", "text/calendar"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("text/calendar, application/json", "text/calendar"),
        ("text/calendar;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, text/calendar", "text/calendar"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "text/calendar"),
        ("text/calendar;q=0, */*", "application/json"),
        ("APPLICATION/JSON; charset=utf-8;q=0.9, text/*;q=0.1", "application/json"),
    ],
)
def test_content_negotiation(accept: str, chosen: str) -> None:
    assert _preferred(accept) == chosen


@given(st.text(alphabet="atext/*;q=0.91, jsonc", max_size=60))
def test_no_accept_header_breaks_it(accept: str) -> None:
    assert _preferred(accept) in ("text/calendar", "application/json")


@pytest.mark.parametrize(
    ("params", "start", "end"),
    [
        ({"start": "2026-11-02T00:00:00Z"}, "2026-11-02T00:00:00Z", "2026-12-14T00:00:00Z"),
        (
            {"start": "2026-11-02T00:00:00+0100", "period": "P1D"},
            "2026-11-01T23:00:00Z",
            "2026-11-02T23:00:00Z",
        ),
        (
            {"start": "2026-11-02T00:00:00-08:00", "period": "PT90M"},
            "2026-11-02T08:00:00Z",
            "2026-11-02T09:30:00Z",
        ),
        ({"period": "P2W"}, "2026-10-26T00:00:00Z", "2026-11-09T00:00:00Z"),
        ({"end": "2026-10-27T12:00:00Z"}, "2026-10-26T00:00:00Z", "2026-10-27T12:00:00Z"),
    ],
)
async def test_windows(place: Place, params: dict[str, str], start: str, end: str) -> None:
    token = await make(place)
    found = await ask_json(place, token["path"], **params)
    assert (found["start"], found["end"]) == (start, end)


async def test_a_plus_that_was_not_encoded_is_read(place: Place) -> None:
    token = await make(place)
    for offset in ("+01:00", "+0100"):
        answer = await place.nobody.send(
            "GET", f"{token['path']}?start=2026-11-02T00:00:00{offset}&period=P1D", headers=JSON
        )
        assert (await answer.json())["start"] == "2026-11-01T23:00:00Z"


@pytest.mark.parametrize(
    ("params", "code", "pointer"),
    [
        ({"start": "20261102"}, "time-invalid", "/start"),
        ({"start": "2026-11-02"}, "time-invalid", "/start"),
        ({"start": "2026-11-02T00:00:00"}, "time-naive", "/start"),
        ({"end": "2026-10-20T00:00:00Z"}, "window-reversed", "/end"),
        ({"period": "P367D"}, "window-too-wide", "/end"),
        ({"period": "P999999W"}, "window-too-wide", "/end"),
        ({"period": "P0D"}, "period-invalid", "/period"),
        ({"period": "-P1D"}, "period-invalid", "/period"),
        ({"period": "42"}, "period-invalid", "/period"),
        ({"period": "P1D", "end": "2026-11-02T00:00:00Z"}, "period-and-end", "/period"),
        ({"format": "text/html"}, "invalid-request", "/format"),
        ({"junk": "1"}, "parameter-unknown", "/junk"),
    ],
)
async def test_bad_parameters(
    place: Place, params: dict[str, str], code: str, pointer: str
) -> None:
    token = await make(place)
    answer = await place.nobody.send("GET", token["path"], params=params)
    problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"], problem["errors"][0]["pointer"]) == (422, code, pointer)


async def test_a_user_must_be_the_person_of_the_token(place: Place) -> None:
    await place.platform.call(
        "PATCH", f"/v1/principals/{place.ann.id}", {"email": "Ann@example.com", "external_id": "7"}
    )
    token = await make(place)
    for user in (place.ann.id, "ann@example.com", "Ann@example.com", "7"):
        assert (await ask(place, token["path"], user=user))[0] == 200
    for user in (place.bob.id, "bob@example.com", ""):
        assert (await ask(place, token["path"], user=user))[0] == 404


async def test_an_etag_saves_the_body_until_something_changes(place: Place) -> None:
    person = equip(place)
    token = await make(place)
    _, headers, _ = await ask(place, token["path"])
    known = {"If-None-Match": headers["ETag"]}
    place.clock.now += 60
    status, again, body = await ask(place, token["path"], known)
    assert (status, again["ETag"], body) == (304, headers["ETag"], b"")
    person.put("home", meeting(MONDAY + 9 * HOUR))
    status, changed, _ = await ask(place, token["path"], known)
    assert (status, changed["ETag"] != headers["ETag"]) == (200, True)


# --- unknown and coarse ---


@pytest.mark.rule("R25")
async def test_unknown_time_is_busy_in_a_calendar_and_unknown_in_json(place: Place) -> None:
    equip(place, synced=False)
    token = await make(place)
    window = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    _, _, body = await ask(place, token["path"], **window)
    assert periods(body) == [("BUSY", MONDAY, MONDAY + DAY)]
    found = await ask_json(place, token["path"], **window)
    assert (found["complete"], found["busy"]) == (False, [{**window, "status": "unknown"}])


@pytest.mark.rule("R26")
async def test_a_coarse_address_shows_rounded_busy_time_and_no_status(place: Place) -> None:
    person = equip(place)
    person.put("home", meeting(MONDAY + 9 * HOUR + 600, 0.5))
    person.put("work", meeting(MONDAY + 10 * HOUR + 60, 0.25, "STATUS:TENTATIVE"))
    person.put("work", meeting(MONDAY + 15 * HOUR + 1740, 0.1))
    token = await make(place, detail="coarse")
    window = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    _, _, body = await ask(place, token["path"], **window)
    assert periods(body) == [
        ("BUSY", MONDAY + 9 * HOUR, MONDAY + 10 * HOUR + 1800),
        ("BUSY", MONDAY + 15 * HOUR, MONDAY + 16 * HOUR),
    ]


@pytest.mark.rule("R26")
async def test_no_choice_of_windows_finds_an_edge_behind_a_coarse_address(place: Place) -> None:
    equip(place).put("home", meeting(MONDAY + 9 * HOUR + 600, 1))
    token = await make(place, detail="coarse")
    seen = []
    for minute in range(0, 150, 5):
        start = MONDAY + 8 * HOUR + minute * 60
        text = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        _, _, body = await ask(place, token["path"], start=text, period="PT5M")
        seen += [(a, b) for _, a, b in periods(body)]
    assert merge(seen) == [(MONDAY + 9 * HOUR, MONDAY + 10 * HOUR + 1800)]


# --- tokens ---


async def test_a_token_is_shown_once_and_kept_as_a_hash(both: Place) -> None:
    made = await make(both, label="Web site")
    FreeBusyTokenWithPath.model_validate(made, strict=True, extra="forbid")
    assert made == {
        "id": made["id"],
        "label": "Web site",
        "detail": "exact",
        "created_at": "2026-10-26T07:33:20Z",
        "rotated_at": None,
        "token": made["token"],
        "path": f"/freebusy/{made['token']}",
        "url": str(both.nobody.client.make_url(f"/freebusy/{made['token']}")),
    }
    assert len(made["token"]) == 32
    _, listed = await both.platform.get(f"/v1/principals/{both.ann.id}/freebusy-tokens")
    FreeBusyTokenList.model_validate(listed, strict=True, extra="forbid")
    assert listed == {
        "tokens": [{name: made[name] for name in made if name not in ("token", "path", "url")}]
    }
    with both.database.read() as session:
        (row,) = session.execute(booking_tables.freebusy_tokens.select()).all()
    assert made["token"] not in repr(row)


async def test_a_new_address_is_coarse_unless_exact_is_asked(place: Place) -> None:
    status, made = await place.platform.post(f"/v1/principals/{place.ann.id}/freebusy-tokens", {})
    assert (status, made["detail"]) == (201, "coarse")


async def test_rotation_and_revocation_hold_at_once(place: Place) -> None:
    old = await make(place)
    base = f"/v1/principals/{place.ann.id}/freebusy-tokens"
    place.clock.now += 60
    status, new = await place.platform.post(f"{base}/{old['id']}/rotate")
    assert (status, new["id"], new["rotated_at"]) == (200, old["id"], "2026-10-26T07:34:20Z")
    assert (await ask(place, old["path"]))[0] == 404
    assert (await ask(place, new["path"]))[0] == 200
    assert await place.platform.call("DELETE", f"{base}/{old['id']}") == (204, None)
    assert (await ask(place, new["path"]))[0] == 404
    assert (await place.platform.call("DELETE", f"{base}/{old['id']}"))[0] == 404
    assert (await place.platform.post(f"{base}/{old['id']}/rotate"))[0] == 404


async def test_a_token_of_another_person_cannot_be_touched(place: Place) -> None:
    made = await make(place)
    base = f"/v1/principals/{place.bob.id}/freebusy-tokens"
    assert (await place.stranger.post(f"{base}/{made['id']}/rotate"))[0] == 404
    assert (await place.stranger.call("DELETE", f"{base}/{made['id']}"))[0] == 404
    assert (await ask(place, made["path"]))[0] == 200


async def test_an_idempotency_key_never_replays_the_secret(place: Place) -> None:
    base = f"/v1/principals/{place.ann.id}/freebusy-tokens"
    headers = {"Idempotency-Key": "once"}
    assert (await place.platform.post(base, {}, headers=headers))[0] == 201
    status, problem = await place.platform.post(base, {}, headers=headers)
    assert (status, problem["code"]) == (409, "secret-not-replayable")


async def test_the_address_goes_with_the_person(place: Place) -> None:
    made = await make(place)
    await place.platform.call("DELETE", f"/v1/principals/{place.ann.id}")
    assert (await ask(place, made["path"]))[0] == 404


@pytest.mark.parametrize("token", ["nothing", "x" * 64, "x" * 65, "..", "%00", "a/b", "%C3%A9"])
async def test_what_is_no_token_is_not_found(place: Place, token: str) -> None:
    status, headers, body = await ask(place, f"/freebusy/{token}")
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert b"Ann" not in body


async def test_a_token_is_no_key(place: Place) -> None:
    """It opens one address: every other call refuses it, as a bearer or in the path."""
    token = (await make(place))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for route in (route for route in ROUTES if route.scope is not None):
        path = route.path.replace("{principal}", place.ann.id)
        path = path.replace("{", "").replace("}", "")
        answer = await place.nobody.send(route.method, path, headers=headers)
        assert answer.status == 401, (route.method, route.path)
    for method in ("POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
        assert (await place.nobody.send(method, f"/freebusy/{token}")).status == 405
