"""Walk a recurrence rule, bounded (RFC 5545 3.3.10).

Why not dateutil's ``rrule``: it always walks from DTSTART and cannot be stopped between two
results, so ``FREQ=SECONDLY`` since 1970 or a yearly 30 February holds a processor for seconds or
for ever. This walk jumps to the asked range wherever the rule permits and spends a step of a
``WorkBudget`` for every candidate. Tests hold it against dateutil.

All times are wall times (see :mod:`gateway.core.ical.values`): a rule knows nothing of zones.
"""

from calendar import monthrange
from collections.abc import Iterator

from gateway.core.ical.rules import Numbers, Rule
from gateway.core.ical.values import DAY, date_of, day_number
from gateway.core.recurrence.budget import WorkBudget

CHEAP = 16
"""So many list entries are made in the time of one step."""

_UNIT = {"HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}


class Walk:
    """One rule applied to one start: yields the wall times of its instances in order.

    ``finished`` turns true when the rule ended by its own COUNT, so that nothing can follow. The
    start is the first that COUNT counts (RFC 5545 3.3.10), whether or not the rule yields it.
    UNTIL is not looked at here (it may be an instant and needs a zone): the caller stops.
    """

    def __init__(self, rule: Rule, start: int, budget: WorkBudget, *, date_only: bool) -> None:
        self._rule = rule
        self._start = start
        self._budget = budget
        self._start_day = start // DAY
        self._start_date = date_of(self._start_day)
        self.finished = False
        by = rule.by
        self._month = by.get("BYMONTH", ())
        self._monthday = by.get("BYMONTHDAY", ())
        self._yearday = by.get("BYYEARDAY", ())
        self._weekno = by.get("BYWEEKNO", ())
        self._setpos = by.get("BYSETPOS", ())
        self._byday = rule.byday
        self._derive_days()
        time_of_day = start % DAY
        # BYHOUR and the like must be ignored for DATE values
        self._hours: Numbers = () if date_only else by.get("BYHOUR", ())
        self._minutes: Numbers = () if date_only else by.get("BYMINUTE", ())
        self._seconds: Numbers = () if date_only else by.get("BYSECOND", ())
        self._clock = (time_of_day // 3600, time_of_day // 60 % 60, time_of_day % 60)
        self._times = self._times_of_day()
        self._unlimited = not (self._month or self._monthday or self._yearday or self._weekno)
        self._week = [
            offset
            for offset in range(7)
            if any((rule.wkst + offset) % 7 == weekday for _, weekday in self._byday)
        ]

    def _derive_days(self) -> None:
        """Take from the start what the rule does not say about the day (RFC 5545 3.3.10)."""
        start, freq = self._start_date, self._rule.freq
        if self._byday or self._monthday or self._yearday:
            return
        if freq == "WEEKLY" or (freq == "YEARLY" and self._weekno):
            self._byday = ((0, start.weekday()),)
        elif freq == "MONTHLY" or freq == "YEARLY":
            self._monthday = (start.day,)
            if freq == "YEARLY" and not self._month:
                self._month = (start.month,)

    def _times_of_day(self) -> list[int]:
        hour, minute, second = self._clock
        sizes = (len(self._hours) or 1, len(self._minutes) or 1, len(self._seconds) or 1)
        self._budget.spend(sizes[0] * sizes[1] * sizes[2] // CHEAP)
        return sorted(
            h * 3600 + m * 60 + s
            for h in self._hours or (hour,)
            for m in self._minutes or (minute,)
            for s in self._seconds or (second,)
        )

    def between(self, low: int, high: int) -> Iterator[int]:
        """Wall times from ``low`` to ``high``, both inclusive, ascending, never before the start.

        Raises BudgetExceededError when the walk costs more than was granted.
        """
        rule, start = self._rule, self._start
        step = self._first_step(low)
        counted = self._counted_before(step)
        spend = self._budget.spend
        while True:
            spend()
            walls = self._period(step)
            if walls is None:
                return
            wall = None
            for wall in walls:
                if wall < start:
                    continue
                if wall > high:
                    return
                if rule.count:
                    # The start counts, even where the rule does not yield it (RFC 5545 3.3.10).
                    counted += 1 if counted or wall == start else 2
                    if counted > rule.count:
                        self.finished = True
                        return
                if wall >= low:
                    yield wall
            if rule.count and counted >= rule.count:
                self.finished = True
                return
            if wall is None and self._period_begin(step) > high:
                return
            step += 1

    # -- periods: the year, month, week or day that one step of the rule covers ----------------

    def _first_step(self, low: int) -> int:
        """How many steps may be skipped: all before ``low``, unless COUNT forbids counting on."""
        rule = self._rule
        if low <= self._start or (rule.count and not self._one_per_step()):
            return 0
        day = max(low // DAY, self._start_day)
        if rule.freq in _UNIT:
            return day - self._start_day
        if rule.freq == "DAILY":
            return (day - self._start_day) // rule.interval
        if rule.freq == "WEEKLY":
            return (day - self._week_begin()) // 7 // rule.interval
        when = date_of(day)
        if rule.freq == "MONTHLY":
            months = (when.year - self._start_date.year) * 12 + when.month - self._start_date.month
            return months // rule.interval
        return (when.year - self._start_date.year) // rule.interval

    def _one_per_step(self) -> bool:
        """Each step yields exactly one instance, so COUNT can be reckoned instead of counted."""
        if not self._rule.is_plain:
            return False
        when = self._start_date
        return {"YEARLY": (when.month, when.day) != (2, 29), "MONTHLY": when.day <= 28}.get(
            self._rule.freq, True
        )

    def _counted_before(self, step: int) -> int:
        """How many instances of a rule with COUNT come before a step."""
        if not self._rule.count:
            return 0
        return self._units_before(step) if self._rule.freq in _UNIT else step

    def _units_before(self, step: int) -> int:
        """How many instances a plain HOURLY, MINUTELY or SECONDLY rule has before a day."""
        if step == 0:
            return 0
        unit = _UNIT[self._rule.freq]
        begin = -(-((self._start_day + step) * DAY - self._start) // unit)
        return -(-begin // self._rule.interval)

    def _week_begin(self) -> int:
        return self._start_day - (self._start_date.weekday() - self._rule.wkst) % 7

    def _period_begin(self, step: int) -> int:
        """Return the first second of a step's period (a lower bound for what it yields)."""
        rule = self._rule
        if rule.freq in _UNIT:
            return (self._start_day + step) * DAY
        if rule.freq == "DAILY":
            return (self._start_day + step * rule.interval) * DAY
        if rule.freq == "WEEKLY":
            return (self._week_begin() + 7 * step * rule.interval) * DAY
        if rule.freq == "MONTHLY":
            year, month = self._month_of(step)
            return day_number(year, month, 1) * DAY
        return day_number(self._start_date.year + step * rule.interval, 1, 1) * DAY

    def _month_of(self, step: int) -> tuple[int, int]:
        start = self._start_date
        year, month = divmod(start.year * 12 + start.month - 1 + step * self._rule.interval, 12)
        return year, month + 1

    def _period(self, step: int) -> list[int] | Iterator[int] | None:
        """Return the wall times of one step, ascending; None beyond the last year there is."""
        freq = self._rule.freq
        try:
            if freq in _UNIT:
                return self._within_day(self._start_day + step)
            days = self._days(step)
        except (ValueError, OverflowError):
            return None
        self._budget.spend(len(days) * len(self._times) // CHEAP)
        walls = [day * DAY + time for day in days for time in self._times]
        return self._positions(walls) if self._setpos else walls

    def _days(self, step: int) -> list[int]:
        rule = self._rule
        if rule.freq == "DAILY":
            day = self._start_day + step * rule.interval
            return [day] if self._passes(day) else []
        if rule.freq == "WEEKLY":
            first = self._week_begin() + 7 * step * rule.interval
            days = [first + offset for offset in self._week]
            return days if self._unlimited else [day for day in days if self._passes(day)]
        if rule.freq == "MONTHLY":
            year, month = self._month_of(step)
            if self._month and month not in self._month:
                return []
            return self._month_days(year, month)
        return self._year_days(self._start_date.year + step * rule.interval)

    def _positions(self, walls: list[int]) -> list[int]:
        """BYSETPOS: pick from the sorted set of one period."""
        picked = {
            walls[position - 1 if position > 0 else position]
            for position in self._setpos
            if abs(position) <= len(walls)
        }
        return sorted(picked)

    # -- days ----------------------------------------------------------------------------------

    def _year_days(self, year: int) -> list[int]:
        if year > 9999:
            raise ValueError("beyond the last year")
        ordinals = any(n for n, _ in self._byday)
        if self._month or not ordinals:
            months = self._month or range(1, 13)
            return [day for month in months for day in self._month_days(year, month)]
        first, last = day_number(year, 1, 1), day_number(year, 12, 31)
        days = self._weekdays_between(first, last)
        return sorted(day for day in days if self._passes(day, weekday=False))

    def _month_days(self, year: int, month: int) -> list[int]:
        """Return the days of a month that every BY part lets through."""
        first = day_number(year, month, 1)
        length = monthrange(year, month)[1]
        self._budget.spend(2)
        if self._monthday:
            wanted = {d if d > 0 else length + d + 1 for d in self._monthday}
            days = {first + d - 1 for d in wanted if 1 <= d <= length}
            if self._byday:
                days &= self._weekdays_between(first, first + length - 1)
        elif self._byday:
            days = self._weekdays_between(first, first + length - 1)
        else:
            days = set(range(first, first + length))
        return sorted(day for day in days if self._passes(day, weekday=False))

    def _weekdays_between(self, first: int, last: int) -> set[int]:
        """Days of BYDAY between two days; ordinals count from either end of that span."""
        days: set[int] = set()
        for ordinal, weekday in self._byday:
            head = first + (weekday - _weekday_of(first)) % 7
            tail = last - (_weekday_of(last) - weekday) % 7
            if ordinal == 0:
                days.update(range(head, last + 1, 7))
            else:
                day = head + (ordinal - 1) * 7 if ordinal > 0 else tail + (ordinal + 1) * 7
                if first <= day <= last:
                    days.add(day)
        return days

    def _passes(self, day: int, *, weekday: bool = True) -> bool:
        """Whether a day gets through the BY parts that limit (those that expand are done)."""
        if weekday and self._byday and all(w != _weekday_of(day) for _, w in self._byday):
            return False
        if self._unlimited:
            return True
        when = date_of(day)
        if self._month and when.month not in self._month:
            return False
        length = monthrange(when.year, when.month)[1]
        if self._monthday and not _hits(self._monthday, when.day, length):
            return False
        begin, end = day_number(when.year, 1, 1), day_number(when.year, 12, 31)
        if self._yearday and not _hits(self._yearday, day - begin + 1, end - begin + 1):
            return False
        if self._weekno:
            number, weeks = week_of(day, self._rule.wkst)
            return _hits(self._weekno, number, weeks)
        return True

    # -- times within a day, for rules finer than a day ----------------------------------------

    def _within_day(self, day: int) -> Iterator[int]:
        date_of(day)  # raises beyond the last year
        if not self._passes(day):
            return iter(())
        return self._aligned(day)

    def _aligned(self, day: int) -> Iterator[int]:
        """Return the times of a day on the rule's step, limited and expanded by BY parts."""
        freq, spend = self._rule.freq, self._budget.spend
        if not self._hours and (freq == "HOURLY" or not self._minutes):
            unit, first = _UNIT[freq], day * DAY
            offset = (self._start // unit - first // unit) % self._rule.interval
            for index in range(offset, DAY // unit, self._rule.interval):
                spend()
                yield from self._group(first + index * unit)
            return
        for hour in self._hours or range(24):
            begin = day * DAY + hour * 3600
            if freq == "HOURLY":
                spend()
                if self._on_step(begin):
                    yield from self._group(begin)
                continue
            for minute in self._minutes or range(60):
                spend()
                moment = begin + minute * 60
                if freq == "SECONDLY":
                    yield from self._seconds_of(moment)
                elif self._on_step(moment):
                    yield from self._group(moment)

    def _on_step(self, wall: int) -> bool:
        unit = _UNIT[self._rule.freq]
        return (wall // unit - self._start // unit) % self._rule.interval == 0

    def _group(self, begin: int) -> list[int]:
        """Return the instances inside one hour, minute or second."""
        freq = self._rule.freq
        _, minute, second = self._clock
        if freq == "SECONDLY":
            walls = [begin] if not self._seconds or begin % 60 in self._seconds else []
        else:
            minutes = (self._minutes or (minute,)) if freq == "HOURLY" else (0,)
            walls = [begin + m * 60 + s for m in minutes for s in self._seconds or (second,)]
        return self._positions(walls) if self._setpos else walls

    def _seconds_of(self, moment: int) -> Iterator[int]:
        interval = self._rule.interval
        for second in range((self._start - moment) % interval, 60, interval):
            yield from self._group(moment + second)


def _weekday_of(day: int) -> int:
    return (day + 3) % 7  # 1970-01-01 was a Thursday


def _hits(wanted: Numbers, number: int, size: int) -> bool:
    """Whether a 1-based number, or its count from the end, is in a BY list."""
    return number in wanted or number - size - 1 in wanted


def week_of(day: int, wkst: int) -> tuple[int, int]:
    """Week number of a day and the number of weeks in the year that number belongs to.

    ISO 8601 weeks with any first weekday: week 1 has at least four days in its year.
    """
    middle = day - (_weekday_of(day) - wkst) % 7 + 3  # the fourth day decides the year
    year = date_of(middle).year
    number = (middle - day_number(year, 1, 1)) // 7 + 1
    first_of_next = day_number(year + 1, 1, 1) if year < 9999 else day_number(9999, 12, 31) + 1
    last_middle = first_of_next - 1 - (_weekday_of(first_of_next - 1) - (wkst + 3)) % 7
    return number, (last_middle - day_number(year, 1, 1)) // 7 + 1
