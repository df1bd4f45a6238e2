"""Who wrote what over which version: the proof that no edit of an appointment vanishes (R17).

Every value written (a start, a title) is used once. An edit remembers the value its author saw; it
has been overwritten knowingly when a later edit saw it. What is left must be the value both sides
ended with, or stand in a conflict record.
"""

import re
from dataclasses import dataclass, field


def start_of(body: bytes) -> str:
    """The DTSTART of the first event, as text."""
    return _value(rb"DTSTART", body)


def title_of(body: bytes) -> str:
    """The SUMMARY of the first event."""
    return _value(rb"SUMMARY", body)


def _value(name: bytes, body: bytes) -> str:
    event = body[body.index(b"BEGIN:VEVENT") :]
    found = re.search(rb"^" + name + rb"[^:\r\n]*:([^\r\n]*)", event, re.MULTILINE)
    return found[1].decode() if found else ""


@dataclass
class Lineage:
    """The values one property of one appointment ever had: {value: the value its author saw}."""

    seen: dict[str, str | None] = field(default_factory=dict)
    ends: set[str] = field(default_factory=set)
    """What was there when somebody deleted the appointment."""

    def write(self, value: str, over: str | None) -> None:
        """Somebody who saw ``over`` wrote ``value``."""
        self.seen[value] = over

    def lost(self, kept: set[str]) -> set[str]:
        """The values that nobody overwrote knowingly and that nobody kept either."""
        accounted: set[str] = set()
        for value in kept | self.ends:
            step: str | None = value
            while step is not None and step not in accounted:
                accounted.add(step)
                step = self.seen.get(step)
        return set(self.seen) - accounted


@dataclass
class History:
    """One appointment: the lineage of its start and of its title."""

    uid: str
    starts: Lineage = field(default_factory=Lineage)
    titles: Lineage = field(default_factory=Lineage)
    by_phone: bool = False

    def write(self, body: bytes, over: bytes | None, *, by_phone: bool) -> None:
        """A new version, written by somebody who saw ``over``."""
        self.by_phone |= by_phone
        for lineage, value in ((self.starts, start_of), (self.titles, title_of)):
            before = value(over) if over is not None else None
            if value(body) != before:
                lineage.write(value(body), before)

    def end(self, seen: bytes, *, by_phone: bool) -> None:
        """Somebody who saw this version deleted it."""
        self.by_phone |= by_phone
        self.starts.ends.add(start_of(seen))
        self.titles.ends.add(title_of(seen))

    def lost(self, here: bytes | None, dropped: list[bytes]) -> list[str]:
        """Edits that vanished without a conflict record."""
        # Without an edit on the phone there is no conflict: nothing may be dropped.
        kept = [*(dropped if self.by_phone else []), *([here] if here is not None else [])]
        starts = self.starts.lost({start_of(body) for body in kept})
        titles = self.titles.lost({title_of(body) for body in kept})
        return [f"{self.uid}: {value} vanished" for value in sorted(starts | titles)]
