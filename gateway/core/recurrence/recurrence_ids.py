"""Finding the instance of a series that an EXDATE, RDATE or RECURRENCE-ID means."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.core.ical.values import DAY, Form, Moment
from gateway.core.ical.zones import Zone, ZoneTable
from gateway.core.recurrence.event import Event

T = TypeVar("T")


@dataclass(slots=True)
class Marks(Generic[T]):
    """Things attached to instances of a series by a time, however that time was written."""

    master: Event
    zones: ZoneTable
    instants: dict[int, T] = field(default_factory=dict)
    walls: dict[int, T] = field(default_factory=dict)
    days: dict[int, T] = field(default_factory=dict)
    by_day: bool = False

    def add(self, moment: Moment, mark: T) -> None:
        """Attach a mark to the instance that ``moment`` names."""
        if self.master.all_day:
            self.days[day_of_all_day(moment, self.zones)] = mark
        elif moment.form is Form.DATE:
            self.days[moment.day] = mark
            self.by_day = True
        elif moment.form is Form.UTC or (
            moment.form is Form.ZONED and self.zones.find(moment.tzid or "") is not None
        ):
            self.instants[place(moment, self.master.zone, self.zones)[0]] = mark
        else:  # floating, or a zone unknown to us and so most likely the master's own
            self.walls[moment.wall] = mark

    def find(self, instant: int, wall: int) -> T | None:
        """Return the mark of an instance, or None."""
        if instant in self.instants:
            return self.instants[instant]
        if wall in self.walls:
            return self.walls[wall]
        return self.days.get(wall // DAY) if self.days else None

    def find_moment(self, moment: Moment) -> T | None:
        """Return the mark of the instance that ``moment`` names, or None."""
        if self.master.all_day:
            return self.days.get(day_of_all_day(moment, self.zones))
        return self.find(*place(moment, self.master.zone, self.zones))


def place(moment: Moment, home: Zone, zones: ZoneTable) -> tuple[int, int]:
    """Instant, and wall time in the zone ``home``, of a time as written.

    A floating time is read in ``home``; so is one whose zone is unknown, because the components of
    one series nearly always share their zone.
    """
    if moment.form is Form.UTC:
        return moment.wall, home.to_wall(moment.wall)
    if moment.form is Form.ZONED:
        zone = zones.find(moment.tzid or "")
        if zone is not None and zone is not home:
            instant = zone.to_utc(moment.wall)
            return instant, home.to_wall(instant)
    return home.to_utc(moment.wall), moment.wall


def day_of_all_day(moment: Moment, zones: ZoneTable) -> int:
    """Which day of an all-day series a time means: as written, or where a UTC midnight falls."""
    if moment.form is Form.UTC and moment.wall % DAY:
        local = zones.own.to_wall(moment.wall)
        if local % DAY == 0:
            return local // DAY
    return moment.day
