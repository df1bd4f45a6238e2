"""Objects over CalDAV: what is put comes back, on both databases."""

import pytest

from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import C, D, event


def test_a_body_comes_back_byte_for_byte_with_its_etag(world):
    body = event("one", at(9), at(10), "X-APPLE-STRUCTURED-LOCATION;X-TITLE=A:geo:37.33,-122.03")
    put = world.device.put(f"{world.platform_path}one.ics", body)
    got = world.device.get(f"{world.platform_path}one.ics")
    assert (put.status, got.status, got.body) == (201, 200, body)
    assert put.etag == got.etag


@pytest.mark.rule("R20")
def test_a_mirror_is_read_only_and_says_so(world):
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    path = f"{world.mirror_path}a.ics"
    for answer in (
        world.device.put(path, event("a", at(11), at(12))),
        world.device.delete(path),
        world.platform.put(f"{world.mirror_path}new.ics", event("n", at(11), at(12))),
    ):
        assert (answer.status, answer.conditions) == (403, [f"{D}need-privileges"])
    assert world.device.get(path).body == event("a", at(9), at(10))
    props = world.device.propfind(world.mirror_path, "d:current-user-privilege-set")
    privileges = props.props(world.mirror_path)[f"{D}current-user-privilege-set"]
    assert [node[0].tag for node in privileges] == [
        f"{D}read",
        f"{D}read-current-user-privilege-set",
        f"{C}read-free-busy",
    ]


@pytest.mark.rule("R21")
def test_sync_tells_each_change_once(world):
    device, path = world.device, world.platform_path
    token = device.sync(path).xml.findtext(f"{D}sync-token")
    device.put(f"{path}one.ics", event("one", at(9), at(10)))
    first = device.sync(path, token)
    assert first.hrefs == [f"{path}one.ics"]
    token = first.xml.findtext(f"{D}sync-token")
    assert device.sync(path, token).hrefs == []
    device.delete(f"{path}one.ics")
    last = device.sync(path, token)
    assert last.hrefs == [f"{path}one.ics"]
    assert [s.text for s in last.xml.iter(f"{D}status")] == ["HTTP/1.1 404 Not Found"]
