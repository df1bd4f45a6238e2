"""A world that was kept in a file goes on as if it had never stopped."""

import json
from pathlib import Path

import pytest

from gateway.lookalike.keeping import load_world, save_world
from gateway.lookalike.seed import seed_demo
from gateway.lookalike.world.world import World


def test_a_kept_world_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    world = World()
    seeded = seed_demo(world)
    robin = world.account(seeded[0].email)
    token = robin.calendar("work").contents.sync_token
    body = next(iter(robin.calendar("work").resources.values())).data
    gone = next(iter(robin.calendar("home").resources))
    robin.delete("home", gone)
    save_world(path, world, {"seen": 1})
    assert path.stat().st_mode & 0o777 == 0o600

    again, extra = load_world(path)
    assert extra == {"seen": 1}
    same = again.account(seeded[0].email)
    assert same.app_passwords == {seeded[0].app_password}
    assert same.home_path == robin.home_path
    for calendar_id, calendar in robin.calendars.items():
        found = same.calendars[calendar_id]
        assert {name: (one.data, one.etag) for name, one in found.resources.items()} == {
            name: (one.data, one.etag) for name, one in calendar.resources.items()
        }
        assert found.contents.sync_token == calendar.contents.sync_token
        assert found.kind is calendar.kind
        assert found.contents.ledger.dead == calendar.contents.ledger.dead
    contents = same.calendar("work").contents
    assert contents.parse_token(token, again.now(), lifetime_s=None) == contents.revision
    everything = [
        one for calendar in robin.calendars.values() for one in calendar.resources.values()
    ]
    name = same.put("work", body.replace(b"UID:", b"UID:new-"))
    assert same.calendar("work").resources[name].etag not in {one.etag for one in everything}
    since = contents.parse_token(token, again.now(), lifetime_s=None)
    assert since is not None
    assert contents.changes_since(since) == [(name, False)]


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"contents": 1})])
def test_what_is_no_world_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "world.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"world\.json holds no world"):
        load_world(path)
