"""What is stored: calendar objects as raw bytes, and the change history of one collection.

Bytes go in and come out unchanged. A collection's contents are shared by every account that sees
it; how one account sees them (id, name, colour, rights) is `accounts.Calendar`.
"""

import base64
import itertools
import struct
import uuid
from dataclasses import dataclass, field

from gateway.lookalike.world.ical import find_kind, find_uid

_numbers = [itertools.count(1)]


def mint_etags_from(number: int) -> None:
    """Go on with the ETags of this number, so that none of an earlier process comes again."""
    _numbers[0] = itertools.count(number)


def mint_etag() -> str:
    """Return a new strong ETag: a short opaque quoted token, never given twice by a process."""
    number, text = next(_numbers[0]) * 7919 + 36**5, ""
    while number:
        number, digit = divmod(number, 36)
        text = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + text
    return f'"m{text}"'


@dataclass
class Resource:
    """One calendar object resource; times are UTC seconds of the world's clock."""

    name: str
    data: bytes
    etag: str
    uid: str
    kind: str
    created_at: float
    modified_at: float
    previous: tuple[bytes, str] | None = None
    span: tuple[float, float] | None = None
    mailed: frozenset[str] = frozenset()


@dataclass
class UidLedger:
    """Who holds which UID among the calendars of one owner, and which were used up.

    iCloud refuses a UID that any other calendar of the account holds, and one that was deleted
    before (observed by several clients as a 412 without a reason).
    """

    holders: dict[str, tuple["Contents", str]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)


class Contents:
    """The resources of one collection with an exact change history (RFC 6578)."""

    def __init__(self, owner: str, ledger: UidLedger, *, participants: set[str]) -> None:
        self.uuid = uuid.uuid4()
        self.owner = owner
        self.ledger = ledger
        self.participants = participants
        self.resources: dict[str, Resource] = {}
        self.dead_names: set[str] = set()
        self.revision = 0
        self.generation = 1
        # name -> (revision, deleted); the newest change is always last in the dict
        self.changes: dict[str, tuple[int, bool]] = {}
        self.change_times: list[float] = [0.0]
        self.passages: dict[str, list[tuple[int, bool]]] = {}

    def put(self, name: str, data: bytes, now: float, *, etag: str | None = None) -> Resource:
        """Store bytes under a name, new or not, without any check; return the resource."""
        old = self.resources.get(name)
        resource = Resource(
            name=name,
            data=data,
            etag=etag or mint_etag(),
            uid=find_uid(data),
            kind=find_kind(data),
            created_at=old.created_at if old else now,
            modified_at=now,
            previous=(old.data, old.etag) if old else None,
        )
        if old and old.uid != resource.uid:
            self._release(old)
        self.resources[name] = resource
        if resource.uid:
            self.ledger.holders[resource.uid] = (self, name)
            self.ledger.dead.discard(resource.uid)
        self.dead_names.discard(name)
        self._record(name, deleted=False, now=now)
        return resource

    def delete(self, name: str, now: float) -> Resource:
        """Remove a resource, leaving a tombstone for its name and UID; raises KeyError."""
        resource = self.resources.pop(name)
        self._release(resource)
        self.dead_names.add(name)
        self._record(name, deleted=True, now=now)
        return resource

    def touch(self, name: str, now: float, *, data: bytes | None = None) -> Resource:
        """Give a resource a new ETag without any edit, as iCloud does now and then."""
        return self.put(name, data or self.resources[name].data, now)

    def _release(self, resource: Resource) -> None:
        holder = self.ledger.holders.get(resource.uid)
        if holder is not None and holder == (self, resource.name):
            del self.ledger.holders[resource.uid]
            self.ledger.dead.add(resource.uid)

    def _record(self, name: str, *, deleted: bool, now: float) -> None:
        self.revision += 1
        self.changes.pop(name, None)
        self.changes[name] = (self.revision, deleted)
        self.change_times.append(now)
        passages = self.passages.setdefault(name, [])
        if not passages or passages[-1][1] != deleted:
            passages.append((self.revision, deleted))

    def existed_at(self, name: str, revision: int) -> bool:
        """Whether a name was there at a revision."""
        known = [deleted for number, deleted in self.passages.get(name, ()) if number <= revision]
        return bool(known) and not known[-1]

    def changes_since(self, revision: int) -> list[tuple[str, bool]]:
        """Return (name, deleted) of everything changed after a revision, oldest change first."""
        found: list[tuple[str, bool]] = []
        for name in reversed(self.changes):
            number, deleted = self.changes[name]
            if number <= revision:
                break
            found.append((name, deleted))
        return found[::-1]

    @property
    def ctag(self) -> str:
        """The collection tag in iCloud's shape; changes with every change of a resource."""
        return f"FT=-@RU={self.uuid}@S={self.revision}"

    @property
    def sync_token(self) -> str:
        """The opaque sync token of the present revision."""
        return self.token_at(self.revision)

    def token_at(self, revision: int) -> str:
        """Return the opaque sync token of a revision."""
        packed = self.uuid.bytes[:6] + struct.pack(">HQ", self.generation, revision)
        return "HwoQEgwAA" + base64.b64encode(packed).decode()

    def parse_token(self, token: str, now: float, *, lifetime_s: float | None) -> int | None:
        """Return the revision of a token, or None when it is foreign, dropped or too old.

        A token is too old when a change it does not know of is older than ``lifetime_s``: a
        server forgets its change history, not its tokens.
        """
        try:
            packed = base64.b64decode(token.removeprefix("HwoQEgwAA"), validate=True)
            generation, revision = struct.unpack(">HQ", packed[6:])
        except (ValueError, struct.error):
            return None
        if packed[:6] != self.uuid.bytes[:6] or generation != self.generation:
            return None
        if not 0 <= revision <= self.revision:
            return None
        if lifetime_s is None or revision == self.revision:
            return int(revision)
        forgotten = now - self.change_times[revision + 1] > lifetime_s
        return None if forgotten else int(revision)

    def drop_tokens(self) -> None:
        """Make every token handed out so far unusable."""
        self.generation += 1
