"""python-caldav, with its own idea of iCloud, as an outside judge of the look-alike."""

import asyncio
import datetime as dt

import caldav
import pytest

from gateway.lookalike.seed import seed_demo

from .conftest import NOW


@pytest.fixture
def person(server):
    return seed_demo(server.world)[0]


async def test_python_caldav_discovers_lists_writes_and_syncs(server, person):
    calendars, found, removed = await asyncio.to_thread(_walk, server, person)
    assert calendars[:4] == ["Home", "Work", "Club fixtures", "Family"]
    account = server.world.account(person.email)
    assert found == len(account.calendars["work"].resources) + 1
    assert removed == ["added.ics"]
    assert server.world.mails == []


def _walk(server, person):
    client = caldav.DAVClient(
        server.url,
        username=person.email,
        password=person.app_password,
        features="icloud",
        auth_type="basic",
        enable_rfc6764=False,
    )
    with client:
        calendars = client.principal().get_calendars()
        work = next(one for one in calendars if str(one.url).endswith("/work/"))
        start = dt.datetime.fromtimestamp(NOW, dt.UTC)
        event = work.add_event(
            dtstart=start, dtend=start + dt.timedelta(hours=1), summary="Added", uid="added"
        )
        synced = work.get_objects_by_sync_token(load_objects=True, disable_fallback=True)
        found = len(_names(synced))
        event.delete()
        newer = work.get_objects_by_sync_token(synced.sync_token, disable_fallback=True)
        return [one.get_display_name() for one in calendars], found, _names(newer)


def _names(objects):
    """Names of the objects; it takes the collection's own entry for one of them."""
    urls = [str(one.url) for one in objects]
    return [url.rsplit("/", 1)[1] for url in urls if url.endswith(".ics")]
