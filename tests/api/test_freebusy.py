"""Free/busy over HTTP: shape, zones, days, conditional requests, many people (R22-R26)."""

from typing import Any

import pytest

from gateway.api.freebusy.shapes import ExplainOut, FreeBusyAnswers, FreeBusyOut
from gateway.services.accounts.roles import set_calendar_roles
from tests.api.conftest import Place
from tests.services.people import DAY, HOUR, MONDAY, Person, connect, event, meeting

WEEK = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-09T00:00:00Z"}


@pytest.fixture
def ann(place: Place) -> Person:
    """Ann with Home linked and Work as conflict calendar, both just synced."""
    return equip(place)


def equip(place: Place) -> Person:
    """Give Ann an account that was just synced."""
    person = connect(place.database, place.keyring, place.ann)
    with place.database.write() as session:
        set_calendar_roles(
            session,
            place.ann.id,
            linked=person.calendar["home"],
            conflicts=[person.calendar["work"]],
            now=place.clock.now,
        )
    for name in ("home", "work"):
        person.set_calendar(name, state="ok", synced_at=place.clock.now)
    return person


async def ask(place: Place, **params: str) -> dict[str, Any]:
    """Ask for Ann's week."""
    status, found = await place.reader.get(
        f"/v1/principals/{place.ann.id}/freebusy", **{**WEEK, **params}
    )
    assert status == 200, found
    return dict(found)


@pytest.mark.rule("R23", "R24", "R25", "R26")
async def test_the_answer_field_by_field(both: Place) -> None:
    person = equip(both)
    person.put("home", meeting(MONDAY + 9 * HOUR, 1))
    person.put("work", meeting(MONDAY + 9 * HOUR, 2, "STATUS:TENTATIVE"))
    both.clock.now += 60
    person.set_calendar("work", state="failed", problem="upstream-unreachable")
    found = await ask(both)
    assert found == {
        "start": "2026-11-02T01:00:00+01:00",
        "end": "2026-11-09T01:00:00+01:00",
        "time_zone": "Europe/Berlin",
        "revision": found["revision"],
        "complete": True,
        "policy": {"on_unknown": "block", "on_tentative": "block"},
        "busy": [
            {
                "start": "2026-11-02T10:00:00+01:00",
                "end": "2026-11-02T11:00:00+01:00",
                "status": "busy",
            },
            {
                "start": "2026-11-02T11:00:00+01:00",
                "end": "2026-11-02T12:00:00+01:00",
                "status": "tentative",
            },
        ],
        "sources": [
            {
                "calendar": found["sources"][0]["calendar"],
                "role": "platform",
                "state": "fresh",
                "synced_at": None,
                "age_s": 0,
                "problem": None,
            },
            {
                "calendar": person.calendar["home"],
                "role": "linked",
                "state": "fresh",
                "synced_at": "2026-10-26T08:33:20+01:00",
                "age_s": 60,
                "problem": None,
            },
            {
                "calendar": person.calendar["work"],
                "role": "conflict",
                "state": "fresh",
                "synced_at": "2026-10-26T08:33:20+01:00",
                "age_s": 60,
                "problem": "upstream-unreachable",
            },
        ],
    }
    FreeBusyOut.model_validate(found, strict=True, extra="forbid")


@pytest.mark.rule("R24")
async def test_the_zone_is_the_principals_unless_another_is_asked(
    place: Place, ann: Person
) -> None:
    ann.put("home", meeting(MONDAY + 9 * HOUR, 1))
    shown = {
        zone: (await ask(place, time_zone=zone))["busy"][0]["start"]
        for zone in ("UTC", "Asia/Kolkata", "America/New_York")
    }
    assert shown == {
        "UTC": "2026-11-02T09:00:00Z",
        "Asia/Kolkata": "2026-11-02T14:30:00+05:30",
        "America/New_York": "2026-11-02T04:00:00-05:00",
    }


@pytest.mark.rule("R24")
async def test_an_offset_whose_plus_was_lost_in_the_query_is_read(
    place: Place, ann: Person
) -> None:
    del ann
    answer = await place.reader.send(
        "GET",
        f"/v1/principals/{place.ann.id}/freebusy?start=2026-11-02T01:00:00+01:00&end={WEEK['end']}",
    )
    assert (await answer.json())["start"] == "2026-11-02T01:00:00+01:00"


@pytest.mark.rule("R25")
async def test_the_policies(place: Place, ann: Person) -> None:
    ann.put("home", meeting(MONDAY, 24, "STATUS:TENTATIVE"))
    ann.set_calendar("work", state="never", synced_at=None)

    async def shown(**params: str) -> list[str]:
        found = await ask(place, **params)
        assert found["complete"] is False
        assert found["policy"] == {
            "on_unknown": params.get("on_unknown", "block"),
            "on_tentative": params.get("on_tentative", "block"),
        }
        return [row["status"] for row in found["busy"]]

    assert await shown() == ["unknown"]
    assert await shown(on_unknown="tentative") == ["tentative"]
    assert await shown(on_unknown="ignore") == ["tentative"]
    assert await shown(on_unknown="ignore", on_tentative="free") == []
    status, problem = await place.reader.get(
        f"/v1/principals/{place.ann.id}/freebusy", **WEEK, on_unknown="fail"
    )
    assert (status, problem["code"]) == (409, "availability-unknown")


@pytest.mark.rule("R24")
async def test_days_are_cut_at_the_midnights_of_the_zone(place: Place, ann: Person) -> None:
    """2026-10-25 has 25 hours in Berlin; the first and last day are cut by the window."""
    del ann
    path = f"/v1/principals/{place.ann.id}/freebusy"
    status, found = await place.reader.get(
        path,
        start="2026-10-24T12:00:00+02:00",
        end="2026-10-26T06:00:00+01:00",
        group_by="day",
    )
    assert (status, found["days"]) == (
        200,
        [
            {
                "date": "2026-10-24",
                "start": "2026-10-24T12:00:00+02:00",
                "end": "2026-10-25T00:00:00+02:00",
                "busy": [],
            },
            {
                "date": "2026-10-25",
                "start": "2026-10-25T00:00:00+02:00",
                "end": "2026-10-26T00:00:00+01:00",
                "busy": [],
            },
            {
                "date": "2026-10-26",
                "start": "2026-10-26T00:00:00+01:00",
                "end": "2026-10-26T06:00:00+01:00",
                "busy": [],
            },
        ],
    )


@pytest.mark.rule("R24")
async def test_a_period_over_midnight_is_in_both_days(place: Place, ann: Person) -> None:
    ann.put(
        "home", event(";TZID=Europe/Berlin:20261103T220000", ";TZID=Europe/Berlin:20261105T020000")
    )
    found = await ask(place, group_by="day")
    assert {
        day["date"]: [(row["start"][8:16], row["end"][8:16]) for row in day["busy"]]
        for day in found["days"]
        if day["busy"]
    } == {
        "2026-11-03": [("03T22:00", "04T00:00")],
        "2026-11-04": [("04T00:00", "05T00:00")],
        "2026-11-05": [("05T00:00", "05T02:00")],
    }
    assert len(found["days"]) == 8
    assert len(found["busy"]) == 1


@pytest.mark.rule("R24")
async def test_days_where_midnight_does_not_exist(place: Place, ann: Person) -> None:
    """In Beirut clocks jump from 00:00 to 01:00 on 2027-03-28."""
    ann.put("home", meeting(MONDAY))
    found = await place.reader.get(
        f"/v1/principals/{place.ann.id}/freebusy",
        start="2027-03-27T00:00:00Z",
        end="2027-03-29T00:00:00Z",
        time_zone="Asia/Beirut",
        group_by="day",
    )
    days = found[1]["days"]
    assert [day["date"] for day in days] == ["2027-03-27", "2027-03-28", "2027-03-29"]
    assert [day["end"] for day in days[:-1]] == [day["start"] for day in days[1:]]


# --- conditional requests ---


async def conditional(place: Place, etag: str | None, **params: str) -> tuple[int, str, bytes]:
    """Ask with If-None-Match; returns status, ETag and body."""
    headers = {"If-None-Match": etag} if etag else {}
    answer = await place.reader.send(
        "GET",
        f"/v1/principals/{place.ann.id}/freebusy",
        params={**WEEK, **params},
        headers=headers,
    )
    return answer.status, answer.headers["ETag"], await answer.read()


@pytest.mark.rule("R25")
async def test_an_unchanged_answer_is_304_whatever_its_age(place: Place, ann: Person) -> None:
    ann.put("home", meeting(MONDAY))
    status, etag, _ = await conditional(place, None)
    assert (status, etag[:3]) == (200, 'W/"')
    place.clock.now += 300
    ann.set_calendar("work", synced_at=place.clock.now)
    for sent in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        assert await conditional(place, sent) == (304, etag, b"")
    assert (await conditional(place, 'W/"other"'))[0] == 200
    for params in ({"time_zone": "UTC"}, {"end": "2026-11-08T00:00:00Z"}, {"group_by": "day"}):
        assert (await conditional(place, etag, **params))[0] == 200


@pytest.mark.rule("R25")
async def test_a_change_or_a_source_going_stale_is_a_new_answer(place: Place, ann: Person) -> None:
    _, etag, _ = await conditional(place, None)
    place.clock.now += 901
    status, stale, _ = await conditional(place, etag)
    assert (status, stale != etag) == (200, True)
    ann.put("home", meeting(MONDAY))
    assert (await conditional(place, stale))[0] == 200
    place.clock.now += DAY
    _, unknown, body = await conditional(place, stale)
    assert b'"complete":false' in body
    assert (await conditional(place, unknown))[0] == 304


# --- several people ---


@pytest.mark.rule("R23")
async def test_several_people_at_once(both: Place) -> None:
    person = equip(both)
    person.put("home", meeting(MONDAY))
    single = await ask(both)
    wanted = [both.ann.id, "p_unknown", both.bob.id, both.ann.id]
    status, found = await both.reader.post("/v1/freebusy", {"principals": wanted, **WEEK})
    missing = "There is no such principal."
    assert (status, found) == (
        200,
        {
            "principals": {both.ann.id: single},
            "errors": {
                "p_unknown": {"pointer": "/principals/1", "code": "not-found", "detail": missing},
                both.bob.id: {"pointer": "/principals/2", "code": "not-found", "detail": missing},
            },
        },
    )
    FreeBusyAnswers.model_validate(found, strict=True, extra="forbid")
    _, everyone = await both.admin.post(
        "/v1/freebusy", {"principals": [both.ann.id, both.bob.id], **WEEK, "time_zone": "UTC"}
    )
    assert sorted(everyone["principals"]) == sorted([both.ann.id, both.bob.id])
    assert everyone["errors"] == {}


@pytest.mark.rule("R25")
async def test_of_several_people_only_the_unknown_one_fails(place: Place, ann: Person) -> None:
    ann.set_calendar("work", state="never", synced_at=None)
    status, found = await place.admin.post(
        "/v1/freebusy",
        {"principals": [place.ann.id, place.bob.id], **WEEK, "on_unknown": "fail"},
    )
    assert (status, list(found["principals"])) == (200, [place.bob.id])
    assert found["errors"][place.ann.id]["code"] == "availability-unknown"
    assert found["errors"][place.ann.id]["pointer"] == "/principals/0"


# --- nothing leaks ---


@pytest.mark.rule("R26")
async def test_no_title_place_or_person_leaves(place: Place, ann: Person) -> None:
    guest = "ATTENDEE;CN=Zoe Zebra:mailto:zoe@example.org"
    ann.put("home", meeting(MONDAY, 1, guest))
    ann.put(
        "home", event(";TZID=Nowhere/Land:20261103T090000", ";TZID=Nowhere/Land:20261103T100000")
    )
    paths = [f"/v1/principals/{place.ann.id}/{face}" for face in ("freebusy", "explain")]
    texts = [await (await place.platform.send("GET", path, params=WEEK)).text() for path in paths]
    body = {"principals": [place.ann.id], **WEEK, "group_by": "day"}
    texts.append(await (await place.platform.send("POST", "/v1/freebusy", json=body)).text())
    for text in texts:
        assert [word for word in ("secret", "Hidden", "Zebra", "zoe@") if word in text] == []


@pytest.mark.rule("R25", "R26")
async def test_the_explanation_names_rule_source_and_age(place: Place, ann: Person) -> None:
    shown = ann.put("home", meeting(MONDAY))
    ann.set_calendar("work", state="never", synced_at=None)
    place.clock.now += 30
    status, found = await place.platform.get(
        f"/v1/principals/{place.ann.id}/explain",
        start="2026-11-02T00:30:00Z",
        end="2026-11-02T00:31:00Z",
        time_zone="UTC",
    )
    assert status == 200
    ExplainOut.model_validate(found, strict=True, extra="forbid")
    assert found["reasons"] == [
        {
            "start": "2026-11-02T00:00:00Z",
            "end": "2026-11-02T01:00:00Z",
            "status": "busy",
            "rule": found["reasons"][0]["rule"],
            "object": shown,
            "kind": "mirrored",
            "calendar": ann.calendar["home"],
            "role": "linked",
            "state": "fresh",
            "age_s": 30,
        }
    ]
    assert found["unknown"] == [
        {
            "start": "2026-11-02T00:30:00Z",
            "end": "2026-11-02T00:31:00Z",
            "calendar": ann.calendar["work"],
            "state": "never",
            "problem": "never-synced",
        }
    ]
    assert (found["complete"], found["truncated"], found["holds"]) == (True, False, [])
