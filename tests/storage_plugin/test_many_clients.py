"""Many clients sync and write at once: nothing is lost, every change is seen exactly once (R21).

Each client keeps a copy by sync-collection, as a phone does, and writes under names of its own and
under names that all share. At the end every copy equals the server, every write that was answered
with success is there, and each took exactly one revision. A server that is too busy says 503 and
has changed nothing; the client comes back. ``make soak-caldav`` lets it last for two minutes in
each arrangement of servers (``GATEWAY_SOAK_S``).
"""

import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from gateway.store.objects.collections import find_collection
from tests.storage_plugin.conftest import World, at
from tests.storage_plugin.dav import Answer, D, Dav, event

CLIENTS = 50
SECONDS = float(os.environ.get("GATEWAY_SOAK_S", "2"))
SHARED = 12


@dataclass
class Phone:
    """One client: its copy of the calendar, what it wrote, and what it saw."""

    number: int
    dav: Dav
    path: str
    token: str = ""
    copy: dict[str, str] = field(default_factory=dict)
    seen: Counter = field(default_factory=Counter)
    written: dict[str, str | None] = field(default_factory=dict)
    syncs: int = 0
    successes: int = 0
    losses: int = 0
    busy: int = 0

    def sync(self) -> None:
        """Take the changes since the last time into the copy."""
        answer = self.dav.sync(self.path, self.token)
        if self.is_busy(answer):
            return
        assert answer.status == 207, answer.text
        self.token = answer.xml.findtext(f"{D}sync-token")
        self.syncs += 1
        for response in answer.xml.iter(f"{D}response"):
            href = response.findtext(f"{D}href")
            etag = response.findtext(f"{D}propstat/{D}prop/{D}getetag")
            if etag is None:
                self.copy.pop(href, None)
            else:
                self.seen[href, etag] += 1
                self.copy[href] = etag

    def is_busy(self, answer: Answer) -> bool:
        """Tell whether the server asked for patience, which keeps nothing."""
        self.busy += answer.status == 503
        return answer.status == 503 and "Retry-After" in answer.headers

    def write(self, chance: random.Random, turn: int) -> None:
        """Make, change or delete an event of one's own, or change one that all share."""
        if chance.random() < 0.3:
            self.change_shared(chance, turn)
            return
        href = f"{self.path}own-{self.number}-{chance.randrange(4)}.ics"
        if self.written.get(href) and chance.random() < 0.3:
            answer = self.dav.delete(href, **{"If-Match": self.written[href]})
            if self.is_busy(answer):
                return
            assert answer.status == 204, answer.text
            self.successes += 1
            self.written[href] = None
            return
        uid = href.rpartition("/")[2]
        body = event(uid, at(9), at(10), summary=f"{self.number} at {turn}")
        condition = {"If-Match": self.written[href]} if self.written.get(href) else {}
        answer = self.dav.put(href, body, **(condition or {"If-None-Match": "*"}))
        if self.is_busy(answer):
            return
        assert answer.status in (201, 204), answer.text
        self.successes += 1
        self.written[href] = answer.etag

    def change_shared(self, chance: random.Random, turn: int) -> None:
        """Change what was last seen of a shared event; whoever comes second is told."""
        href = f"{self.path}shared-{chance.randrange(SHARED)}.ics"
        known = self.copy.get(href)
        condition = {"If-Match": known} if known else {"If-None-Match": "*"}
        uid = href.rpartition("/")[2]
        body = event(uid, at(11), at(12), summary=f"{self.number} was here at {turn}")
        answer = self.dav.put(href, body, **condition)
        if self.is_busy(answer):
            return
        assert answer.status in (201, 204, 412), answer.text
        self.successes += answer.status != 412
        self.losses += answer.status == 412


def live(phone: Phone, until: float, errors: list[BaseException]) -> None:
    chance = random.Random(phone.number)
    turn = 0
    try:
        while time.monotonic() < until:
            turn += 1
            phone.sync()
            phone.write(chance, turn)
    except BaseException as error:
        errors.append(error)
    finally:
        phone.dav.application.close()


@pytest.mark.rule("R21")
def test_many_clients_lose_nothing_and_see_each_change_once(every_served_world: World) -> None:
    world = every_served_world
    login, path = world.device, world.platform_path
    phones = [
        Phone(
            number, Dav(login.application, login.login, login.secret, address=login.address), path
        )
        for number in range(CLIENTS)
    ]
    errors: list[BaseException] = []
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=live, args=(phone, until, errors)) for phone in phones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    listing = login.propfind(path, "d:getetag", depth="1")
    there = {
        href: listing.props(href)[f"{D}getetag"].text for href in listing.hrefs if href != path
    }
    for phone in phones:
        phone.sync()
        assert phone.copy == there
        assert set(phone.seen.values()) <= {1}
        for href, etag in phone.written.items():
            assert there.get(href) == etag
    with world.database.read() as session:
        row = find_collection(session, world.principal_id, "platform")
    written, lost, busy = (
        sum(getattr(phone, name) for phone in phones) for name in ("successes", "losses", "busy")
    )
    assert row.revision == written
    assert lost > 0
    print(
        f"{CLIENTS} clients, {SECONDS:g} s: {sum(phone.syncs for phone in phones):,} syncs, "
        f"{written:,} changes, {lost:,} told that they came second, {busy:,} told to come back"
    )
