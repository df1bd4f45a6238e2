"""The request log: what was asked, in which order, by which account, with what outcome."""

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

_LIMIT = 100_000


@dataclass
class Entry:
    """One request. ``time`` is UTC seconds; hash and size are of the body that was sent to us."""

    seq: int
    time: float
    account: str | None
    listener: str
    method: str
    path: str
    depth: str | None
    status: int = 0
    report: str = ""
    calendar: str | None = None
    body_size: int = 0
    body_sha256: str | None = None
    answer_size: int = 0
    if_match: str | None = None
    if_none_match: str | None = None
    quirks: list[str] = field(default_factory=list)

    @property
    def short(self) -> str:
        """``PROPFIND``, ``REPORT sync-collection``, ``PUT`` …: what tests compare in order."""
        return f"{self.method} {self.report}" if self.report else self.method

    def as_json(self) -> dict[str, Any]:
        """Return the entry as plain values, with ``short``."""
        return {**asdict(self), "short": self.short}


class Journal:
    """The last 100,000 requests; control requests are not among them."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=_LIMIT)
        self._seq = 0

    def open(self, **fields: Any) -> Entry:
        """Add an entry; its outcome is filled in when the answer is known."""
        self._seq += 1
        entry = Entry(seq=self._seq, **fields)
        self.entries.append(entry)
        return entry

    def select(
        self,
        *,
        account: str | None = None,
        since: int = 0,
        method: str | None = None,
        calendar: str | None = None,
    ) -> list[Entry]:
        """Return entries in order, by account e-mail, sequence number, method, calendar id."""
        folded = account.casefold() if account else None
        return [
            entry
            for entry in list(self.entries)
            if entry.seq > since
            and (folded is None or (entry.account or "").casefold() == folded)
            and (method is None or entry.method == method)
            and (calendar is None or entry.calendar == calendar)
        ]

    def shorts(self, account: str | None = None, since: int = 0) -> list[str]:
        """Return just the ``short`` of each entry, for comparing the order of requests."""
        return [entry.short for entry in self.select(account=account, since=since)]

    @property
    def last_seq(self) -> int:
        """Sequence number of the newest entry; a mark to select from later."""
        return self._seq

    def clear(self) -> None:
        """Forget all entries; sequence numbers go on."""
        self.entries.clear()
