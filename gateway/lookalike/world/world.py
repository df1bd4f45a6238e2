"""The state of the imitation: accounts, calendars, mails, notifications, clock. No HTTP here."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gateway.lookalike.world.accounts import Account, Calendar, Kind, Mode
from gateway.lookalike.world.contents import Contents, UidLedger
from gateway.lookalike.world.faults import FaultBook
from gateway.lookalike.world.journal import Journal

__all__ = ["Account", "Calendar", "Kind", "Mail", "Notification", "World"]


@dataclass(frozen=True)
class Mail:
    """An e-mail the server would have sent to a guest by itself."""

    time: float
    account: str
    to: str
    method: str
    uid: str

    def as_json(self) -> dict[str, Any]:
        """Return the mail as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Notification:
    """A push notification on another person's phone about a shared calendar."""

    time: float
    contents: str
    to: str
    action: str
    name: str

    def as_json(self) -> dict[str, Any]:
        """Return the notification as plain values."""
        return asdict(self)


class World:
    """Everything the look-alike knows; safe to read and edit directly in the same process.

    ``now`` returns UTC seconds; `advance` adds to it, so a real clock can be moved forward too.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._offset = 0.0
        self.accounts: dict[str, Account] = {}
        self.by_dsid: dict[str, Account] = {}
        self.partitions: dict[str, str] = {"p01": "http://localhost/", "p02": "http://localhost/"}
        self.mails: list[Mail] = []
        self.notifications: list[Notification] = []
        self.faults = FaultBook(self.now)
        self.journal = Journal()
        self._ledgers: dict[str, UidLedger] = {}

    # -- clock ---------------------------------------------------------------------------------

    def now(self) -> float:
        """Present time of the world, UTC seconds."""
        return self._now() + self._offset

    def advance(self, seconds: float) -> float:
        """Move the world's clock; return the new time."""
        self._offset += seconds
        return self.now()

    # -- accounts ------------------------------------------------------------------------------

    def add_account(
        self, email: str, *, name: str = "Taylor Example", dsid: str | None = None
    ) -> Account:
        """Create an account with the default set of calendars; raises ValueError on a double.

        The set: ``home`` (shared out), ``work``, a shared read-only and a shared writable one
        owned by somebody else, a subscription, a reminders list, inbox, outbox, notification.
        """
        key = email.casefold()
        if key in self.accounts:
            raise ValueError(f"account exists: {email}")
        digest = hashlib.sha256(key.encode()).digest()
        dsid = dsid or str(10**10 + int.from_bytes(digest[:4], "big"))
        account = Account(self, email, name=name, dsid=dsid)
        self.accounts[key] = account
        self.by_dsid[dsid] = account
        self._add_default_calendars(account)
        return account

    def account(self, email: str) -> Account:
        """Return an account by e-mail, whatever the letter case; raises KeyError."""
        return self.accounts[email.casefold()]

    def _add_default_calendars(self, account: Account) -> None:
        home = account.add_calendar("Home", calendar_id="home")
        home.shared_out = True
        home.contents.participants.add(f"partner-of-{account.email}")
        account.add_calendar("Work", calendar_id="work")
        for name, mode in (("Club fixtures", "read"), ("Family", "write")):
            self._add_foreign_share(account, name, "read" if mode == "read" else "write")
        account.add_subscription("Public holidays", "webcal://holidays.example/calendar.ics")
        account.add_calendar("Reminders", kind=Kind.REMINDERS)
        for kind in (Kind.INBOX, Kind.OUTBOX, Kind.NOTIFICATION):
            account.add_calendar(kind.value, calendar_id=kind.value, kind=kind)

    def _add_foreign_share(self, account: Account, name: str, mode: Mode) -> Calendar:
        owner = f"{name.split()[0].lower()}-owner-of-{account.email}"
        contents = Contents(owner, self.ledger(owner), participants={owner})
        return account.add_shared(name, contents, mode)

    # -- sharing -------------------------------------------------------------------------------

    def share(self, owner: str, calendar_id: str, sharee: str, mode: Mode = "write") -> Calendar:
        """Share an own calendar of one account with another; return the sharee's calendar."""
        calendar = self.account(owner).calendar(calendar_id)
        calendar.shared_out = True
        return self.account(sharee).add_shared(calendar.name, calendar.contents, mode)

    def unshare(self, owner: str, calendar_id: str, sharee: str) -> None:
        """Take a share back: the calendar leaves the sharee's home."""
        contents = self.account(owner).calendar(calendar_id).contents
        account = self.account(sharee)
        for calendar in list(account.calendars.values()):
            if calendar.contents is contents:
                account.drop_calendar(calendar.id)

    def forget_contents(self, contents: Contents) -> None:
        """Remove a deleted calendar from every account that shared it; its UIDs are used up."""
        for account in self.accounts.values():
            for calendar in list(account.calendars.values()):
                if calendar.contents is contents:
                    del account.calendars[calendar.id]
        for name in list(contents.resources):
            contents.delete(name, self.now())

    def notify_sharees(self, contents: Contents, actor: str, action: str, name: str) -> None:
        """Record what the phones of all other participants of a shared calendar would show."""
        for to in sorted(contents.participants - {actor}):
            note = Notification(self.now(), str(contents.uuid), to, action, name)
            self.notifications.append(note)

    def ledger(self, owner: str) -> UidLedger:
        """Return the UID ledger of an owner (account e-mail or an outside person)."""
        return self._ledgers.setdefault(owner.casefold(), UidLedger())

    def mail(self, account: str, to: str, method: str, uid: str) -> None:
        """Record an e-mail to a guest."""
        self.mails.append(Mail(self.now(), account, to, method, uid))

    def select_mails(self, account: str | None = None) -> list[Mail]:
        """Return the mails the server sent, for one account or for all."""
        folded = account.casefold() if account else None
        return [mail for mail in self.mails if folded in (None, mail.account.casefold())]

    def select_notifications(
        self, account: str | None = None, calendar: str | None = None
    ) -> list[Notification]:
        """Return the notifications about one calendar, about an account's calendars, or all."""
        if account is None:
            return list(self.notifications)
        owner = self.account(account)
        seen = [owner.calendar(calendar)] if calendar else list(owner.calendars.values())
        keys = {str(one.contents.uuid) for one in seen}
        return [note for note in self.notifications if note.contents in keys]
