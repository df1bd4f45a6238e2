"""Two clients change the same event at the same moment: one is first, the other is told (R21)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.store.objects.collections import find_collection
from tests.storage_plugin.conftest import World, at
from tests.storage_plugin.dav import Answer, Dav, event

ROUNDS = 40
Send = Callable[[Dav], Answer]
Race = Callable[[Send, Send], list[Answer]]

pytestmark = pytest.mark.rule("R21")


@pytest.fixture
def race(every_served_world: World) -> Iterator[Race]:
    """Send two requests at once, the booking platform's and a phone's; returns their answers."""
    world = every_served_world
    logins, start = (world.platform, world.device), threading.Barrier(2)

    def send(login: Dav, request: Send) -> Answer:
        start.wait(timeout=60)
        answer = request(login)
        while answer.status == 503 and "Retry-After" in answer.headers:  # nothing was changed
            answer = request(login)
        return answer

    with ThreadPoolExecutor(2) as pool:
        yield lambda *requests: list(pool.map(send, logins, requests))
        for end in [pool.submit(_close, start, world) for _ in logins]:
            end.result()


def _close(start: threading.Barrier, world: World) -> None:
    """Close the connection of a thread; both wait, so each thread takes one."""
    start.wait(timeout=60)
    world.application.close()


def revision(world: World) -> int:
    """How many changes the calendar has seen."""
    with world.database.read() as session:
        found = find_collection(session, world.principal_id, "platform")
    assert found is not None
    return found.revision


def put(path: str, summary: str, **condition: str) -> Send:
    body = event("one", at(9), at(10), summary=summary)
    return lambda login: login.put(path, body, **condition)


def delete(path: str, **condition: str) -> Send:
    return lambda login: login.delete(path, **condition)


def test_of_two_changes_of_one_version_one_is_kept(every_served_world: World, race: Race) -> None:
    world, path = every_served_world, f"{every_served_world.platform_path}one.ics"
    etag = world.platform.put(path, event("one", at(9), at(10))).etag
    begun = revision(world)
    for turn in range(ROUNDS):
        known = {"If-Match": etag}
        texts = [f"Platform {turn}", f"Phone {turn}"]
        answers = race(*(put(path, text, **known) for text in texts))
        assert sorted(answer.status for answer in answers) == [204, 412]
        winner = [answer.status for answer in answers].index(204)
        kept = world.device.get(path)
        assert f"SUMMARY:{texts[winner]}\r\n" in kept.text
        assert kept.etag == answers[winner].etag
        etag = kept.etag
    assert revision(world) == begun + ROUNDS


def test_of_two_that_make_an_event_one_makes_it(every_served_world: World, race: Race) -> None:
    world, path = every_served_world, f"{every_served_world.platform_path}one.ics"
    for _ in range(ROUNDS // 2):
        answers = race(*(put(path, text, **{"If-None-Match": "*"}) for text in ("A", "B")))
        assert sorted(answer.status for answer in answers) == [201, 412]
        (etag,) = [answer.etag for answer in answers if answer.status == 201]
        assert world.device.delete(path, **{"If-Match": etag}).status == 204
    assert revision(world) == ROUNDS


def test_of_a_change_and_a_deletion_one_is_done(every_served_world: World, race: Race) -> None:
    world, path = every_served_world, f"{every_served_world.platform_path}one.ics"
    for _ in range(ROUNDS // 2):
        etag = world.platform.put(path, event("one", at(9), at(10))).etag
        known = {"If-Match": etag}
        answers = race(put(path, "B", **known), delete(path, **known))
        change, deletion = (answer.status for answer in answers)
        assert (change, deletion) in [(204, 412), (412, 204)]
        assert world.device.get(path).status == (200 if change == 204 else 404)
