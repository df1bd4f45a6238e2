"""An object that cannot be understood closes what it could cover, and is named to who asks."""

import pytest

from gateway.services.availability import free_busy
from gateway.store.access.principals import get_principal
from tests.sync.conftest import Site, event

HOUR = 3600


@pytest.mark.rule("R25")
@pytest.mark.parametrize(
    ("old", "new", "code", "hours"),
    [
        (b"DTEND:20261001T100000Z", b"DTEND:late", "bad-end", 24),
        (b"DTEND:20261001T100000Z", b"DTEND:20261001T030000Z", "end-before-start", 24),
        (b"DTSTART:20261001T090000Z\r\nDTEND:20261001T100000Z", b"DTSTART:soon", "bad-start", 0),
        (b"DTSTART:20261001T090000Z", b"DTSTART:20261001T990000Z", "bad-start", 24),
    ],
)
async def test_an_object_that_is_not_understood_is_bounded_and_named(
    site: Site, old: bytes, new: bytes, code: str, hours: int
) -> None:
    body = event("odd").replace(old, new)
    assert new in body
    site.account.put("home", body, "odd.ics")
    site.account.put("home", event("good", "20261010T090000", "20261010T100000"), "good.ics")
    assert (await site.sync()).ok
    now = int(site.clock.time)
    with site.database.read() as session:
        person = get_principal(session, site.principal_id)
        found = free_busy(session, person, (now, now + 60 * 24 * HOUR), now=now)
    unknown = sum(end - start for start, end, status in found.busy if status == "unknown")
    assert unknown == hours * HOUR
    assert sum(end - start for start, end, status in found.busy if status == "busy") == HOUR
    assert found.complete is (hours == 0)
    told = {source.role: source.problem for source in found.sources}
    assert told["linked"] == f"{code}: {site.mirrored('home')['odd.ics'].id}"
    assert told["conflict"] is None


@pytest.mark.rule("R10")
async def test_a_fold_inside_a_character_does_not_hurt_it(site: Site) -> None:
    whole = "Grüße".encode()
    cut = whole[:3] + b"\r\n " + whole[3:]
    site.account.put("home", event("a", summary="TITLE").replace(b"TITLE", cut), "a.ics")
    await site.sync()
    assert whole in site.mirrored("home")["a.ics"].body
