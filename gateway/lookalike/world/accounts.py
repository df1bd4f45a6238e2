"""One iCloud account: who it is, its app-specific passwords, and the calendars it sees."""

import hashlib
import secrets
import string
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from gateway.lookalike.world.contents import Contents, Resource, UidLedger
from gateway.lookalike.world.ical import find_uid
from gateway.lookalike.world.phone import Phone

Mode = Literal["owner", "write", "read"]


class Kind(StrEnum):
    """What a collection in a calendar home is."""

    CALENDAR = "calendar"
    REMINDERS = "reminders"
    SUBSCRIBED = "subscribed"
    INBOX = "inbox"
    OUTBOX = "outbox"
    NOTIFICATION = "notification"


@dataclass
class Calendar:
    """How one account sees a collection; two accounts share one `Contents`."""

    id: str
    name: str
    kind: Kind
    contents: Contents
    mode: Mode = "owner"
    shared_out: bool = False
    color: str = "#1BADF8FF"
    symbolic_color: str = "blue"
    order: int = 1
    components: tuple[str, ...] | None = ("VEVENT", "VTODO", "VFREEBUSY")
    source: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    """Further properties set by PROPPATCH: Clark name to inner XML."""

    @property
    def writable(self) -> bool:
        """Whether the account may store objects here."""
        return self.mode != "read" and self.kind in (Kind.CALENDAR, Kind.REMINDERS)

    @property
    def resources(self) -> dict[str, Resource]:
        """The stored objects by name."""
        return self.contents.resources


class Surroundings(Protocol):
    """What an account knows of the world it lives in."""

    partitions: dict[str, str]

    def now(self) -> float:
        """Present time, UTC seconds."""

    def ledger(self, owner: str) -> UidLedger:
        """Return the UID ledger of an owner."""

    def forget_contents(self, contents: Contents) -> None:
        """Take a deleted calendar from everybody."""

    def notify_sharees(self, contents: Contents, actor: str, action: str, name: str) -> None:
        """Record what the phones of all other participants would show."""


class Account:
    """An account of the world; the `put`, `delete` and `move` edits happen "on the phone"."""

    def __init__(self, world: Surroundings, email: str, *, name: str, dsid: str) -> None:
        self.world = world
        self.email = email
        self.name = name
        self.dsid = dsid
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"principal:{dsid}")).upper()
        self.aliases: set[str] = set()
        self.app_passwords: set[str] = set()
        self.partition = "p01"
        self.former_partitions: dict[str, str] = {}
        """Partition name -> how it refuses now: ``401``, ``404`` or ``connect``."""
        self.calendars: dict[str, Calendar] = {}
        self.phone = Phone(self)
        self.puts = 0
        """Answered PUTs, for the ETag header that is missing now and then."""

    # -- credentials ---------------------------------------------------------------------------

    def issue_app_password(self) -> str:
        """Make a new app-specific password, ``xxxx-xxxx-xxxx-xxxx``; at most 25 stay active."""
        if len(self.app_passwords) >= 25:
            raise ValueError("an account has at most 25 active app-specific passwords")
        letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        password = "-".join(letters[i : i + 4] for i in range(0, 16, 4))
        self.app_passwords.add(password)
        return password

    def revoke(self, password: str = "all") -> None:  # noqa: S107 - a keyword, not a secret
        """Revoke one app-specific password, or ``all``."""
        if password == "all":  # noqa: S105
            self.app_passwords.clear()
        else:
            self.app_passwords.discard(password)

    # -- paths ---------------------------------------------------------------------------------

    @property
    def principal_path(self) -> str:
        """Path of the principal resource."""
        return f"/{self.dsid}/principal/"

    @property
    def home_path(self) -> str:
        """Path of the calendar home."""
        return f"/{self.dsid}/calendars/"

    @property
    def home_url(self) -> str:
        """The absolute calendar-home-set: another host and port than the entry."""
        return self.world.partitions[self.partition].rstrip("/") + self.home_path

    def move_partition(self, to: str | None = None, *, refuse: str = "401") -> None:
        """Move to another partition; the old one refuses with ``401``, ``404`` or ``connect``."""
        others = [name for name in self.world.partitions if name != self.partition]
        target = to or others[0]
        if target not in self.world.partitions or refuse not in ("401", "404", "connect"):
            raise ValueError(f"no partition {target}, or no way to refuse called {refuse}")
        self.former_partitions[self.partition] = refuse
        self.former_partitions.pop(target, None)
        self.partition = target

    def calendar(self, calendar_id: str) -> Calendar:
        """Return a calendar by id, or by display name; raises KeyError."""
        if calendar_id in self.calendars:
            return self.calendars[calendar_id]
        for calendar in self.calendars.values():
            if calendar.name == calendar_id:
                return calendar
        raise KeyError(calendar_id)

    # -- edits on the phone --------------------------------------------------------------------

    def put(self, calendar: str, data: bytes, name: str | None = None) -> str:
        """Create or replace an object as one of Apple's own devices does; return its name.

        Nothing is checked or rewritten: any bytes can be injected. Without a name an existing
        object with the same UID is replaced, else ``<UID>.ics`` (or a random name) is used.
        """
        contents = self.calendar(calendar).contents
        if name is None:
            name = self._name_for(contents, find_uid(data))
        created = name not in contents.resources
        contents.put(name, data, self.world.now())
        if created:
            self.world.notify_sharees(contents, self.email, "created", name)
        return name

    def _name_for(self, contents: Contents, uid: str) -> str:
        holder = contents.ledger.holders.get(uid) if uid else None
        if holder is not None and holder[0] is contents:
            return holder[1]
        plain = uid and len(uid) <= 120 and not set(uid) & set("/\\?#%")
        return f"{uid}.ics" if plain else f"{uuid.uuid4()}.ics"

    def delete(self, calendar: str, name: str) -> None:
        """Delete an object on the phone; raises KeyError when there is none."""
        contents = self.calendar(calendar).contents
        contents.delete(name, self.world.now())
        self.world.notify_sharees(contents, self.email, "deleted", name)

    def move(self, calendar: str, name: str, to: str) -> str:
        """Move an object to another calendar on the phone; return its name there (unchanged)."""
        data = self.calendar(calendar).resources[name].data
        self.delete(calendar, name)
        return self.put(to, data, name)

    def get(self, calendar: str, name: str) -> bytes:
        """Return the stored bytes of an object; raises KeyError."""
        return self.calendar(calendar).resources[name].data

    # -- collections ---------------------------------------------------------------------------

    def add_calendar(
        self, name: str, *, calendar_id: str | None = None, kind: Kind = Kind.CALENDAR
    ) -> Calendar:
        """Create an own calendar (upper-case UUID as id unless one is given)."""
        number = len(self.calendars) + 1
        components = {
            Kind.CALENDAR: ("VEVENT", "VTODO", "VFREEBUSY"),
            Kind.REMINDERS: ("VTODO",),
            Kind.SUBSCRIBED: ("VEVENT",),
        }
        contents = Contents(self.email, self.world.ledger(self.email), participants={self.email})
        calendar = Calendar(
            id=calendar_id or str(uuid.uuid4()).upper(),
            name=name,
            kind=kind,
            contents=contents,
            components=components.get(kind),
            order=number,
            color=_COLORS[number % len(_COLORS)][0],
            symbolic_color=_COLORS[number % len(_COLORS)][1],
        )
        self.calendars[calendar.id] = calendar
        return calendar

    def add_subscription(self, name: str, source: str | None) -> Calendar:
        """Subscribe to a published calendar; ``source`` is its ``webcal:`` address."""
        calendar = self.add_calendar(name, kind=Kind.SUBSCRIBED)
        calendar.source = source
        return calendar

    def add_shared(self, name: str, contents: Contents, mode: Mode) -> Calendar:
        """Accept a share: the calendar appears with a 64-hex id and no component set."""
        seed = f"{contents.uuid}:{self.dsid}".encode()
        calendar = Calendar(
            id=hashlib.sha256(seed).hexdigest(),
            name=name,
            kind=Kind.CALENDAR,
            contents=contents,
            mode=mode,
            components=None,
            color="#63DA38FF",
            symbolic_color="green",
            order=len(self.calendars) + 1,
        )
        contents.participants.add(self.email)
        self.calendars[calendar.id] = calendar
        return calendar

    def drop_calendar(self, calendar_id: str) -> None:
        """Remove a calendar: an own one for everybody, a shared-in one for this account only."""
        calendar = self.calendar(calendar_id)
        del self.calendars[calendar.id]
        calendar.contents.participants.discard(self.email)
        if calendar.mode == "owner":
            self.world.forget_contents(calendar.contents)


_COLORS = (
    ("#FF2968FF", "red"),
    ("#FF9500FF", "orange"),
    ("#FFCC02FF", "yellow"),
    ("#63DA38FF", "green"),
    ("#1BADF8FF", "blue"),
    ("#CC73E1FF", "purple"),
    ("#A2845EFF", "brown"),
)
