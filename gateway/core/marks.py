"""Finding the instance of a series that an EXDATE or a RECURRENCE-ID means."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.core.values import DAY, Form, Moment
from gateway.core.vevent import Event
from gateway.core.zones import ZoneTable

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
        elif moment.form is Form.FLOATING:
            self.walls[moment.wall] = mark
        else:
            zone = self.zones.find(moment.tzid) if moment.tzid else None
            if moment.tzid and zone is None:
                self.walls[moment.wall] = mark  # unknown, so most likely the master's own zone
            else:
                self.instants[zone.to_utc(moment.wall) if zone else moment.wall] = mark

    def find(self, instant: int, wall: int) -> T | None:
        """The mark of an instance, or None."""
        if instant in self.instants:
            return self.instants[instant]
        if wall in self.walls:
            return self.walls[wall]
        return self.days.get(wall // DAY) if self.days else None


def day_of_all_day(moment: Moment, zones: ZoneTable) -> int:
    """Which day of an all-day series a time means: as written, or where a UTC midnight falls."""
    if moment.form is Form.UTC and moment.wall % DAY:
        local = zones.own.to_wall(moment.wall)
        if local % DAY == 0:
            return local // DAY
    return moment.day
