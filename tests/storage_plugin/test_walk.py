"""How a native client's PUT goes, as architecture.md tells it."""

from tests.storage_plugin.conftest import World, at
from tests.storage_plugin.dav import event
from tests.walks import Footprints, named_in


def test_a_put_goes_the_way_the_page_tells(local_world: World) -> None:
    trace = Footprints()
    try:
        body = event("walk", at(9), at(10))
        answer = local_world.platform.put(f"{local_world.platform_path}walk.ics", body)
    finally:
        trace.stop()
    assert answer.status == 201
    named = named_in("Walk 1")
    assert len(named) >= 5
    assert named - trace.files == set()
