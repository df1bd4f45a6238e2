"""RDATE and EXDATE in every form they come in.

The files are in ``tests/calendars/dates``.
"""

from tests.core.golden import Case

CASES = [
    Case(
        "dates/rdate",
        "RFC 5545 3.8.5.2",
        "added instances, one in another zone, one in UTC",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
            "01-08T13:00/01-08T14:00 BUSY opaque",
            "01-10T12:00/01-10T13:00 BUSY opaque",
            "01-12T13:00/01-12T14:00 BUSY opaque",
        ],
    ),
    Case(
        "dates/rdate_on_rule",
        "RFC 5545 3.8.5.2",
        "an RDATE that the rule yields too counts once",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T09:00/01-06T10:00 BUSY opaque"],
    ),
    Case(
        "dates/rdate_floating_on_zoned",
        "RFC 5545 3.8.5.2",
        "a TZID forgotten on RDATE: the clock of DTSTART",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
    Case(
        "dates/rdate_period",
        "RFC 5545 3.3.9",
        "periods bring their own length",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-07T09:00/01-07T12:00 BUSY opaque",
            "01-08T09:00/01-08T09:30 BUSY opaque",
        ],
    ),
    Case(
        "dates/rdate_period_zoned",
        "RFC 5545 3.3.9",
        "a period with a zone",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T12:00 BUSY opaque"],
    ),
    Case(
        "dates/rdate_date",
        "RFC 5545 3.8.5.2",
        "RDATEs of an all-day event",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
            "01-08T23:00/01-09T23:00 BUSY opaque",
        ],
    ),
    Case(
        "dates/rdate_date_on_time",
        "RFC 5545 3.8.5.2",
        "a day without a time on a timed event: some time of that day",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T23:00/01-08T00:00 UNKNOWN rdate-by-day"],
        problems=["rdate-by-day"],
    ),
    Case(
        "dates/rdate_empty",
        "RFC 5545 3.8.5.2",
        "an empty RDATE adds nothing",
        ["01-05T09:00/01-05T10:00 BUSY opaque"],
    ),
    Case(
        "dates/rdate_bad",
        "RFC 5545 3.8.5.2",
        "an RDATE that cannot be read may be any time after the first",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-05T09:00/2027-01-01T00:00 UNKNOWN bad-rdate"],
        problems=["bad-rdate"],
    ),
    Case(
        "dates/exdate",
        "RFC 5545 3.8.5.1",
        "the form of DTSTART",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_utc",
        "RFC 5545 3.8.5.1",
        "the same instant in UTC",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_other_zone",
        "RFC 5545 3.8.5.1",
        "the same instant in another zone",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_without_tzid",
        "RFC 5545 3.8.5.1",
        "a TZID forgotten: the clock of DTSTART",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_windows_zone",
        "RFC 5545 3.8.5.1",
        "the same zone under its Windows name",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_list",
        "RFC 5545 3.8.5.1",
        "a list, and a second property",
        [],
    ),
    Case(
        "dates/exdate_date_on_time",
        "RFC 5545 3.8.5.1",
        "a DATE on a timed series excludes that day, as a last resort",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
        problems=["exdate-by-day"],
    ),
    Case(
        "dates/exdate_wrong_time",
        "RFC 5545 3.8.5.1",
        "a time that no instance has excludes nothing",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "dates/exdate_bad",
        "RFC 5545 3.8.5.1",
        "an EXDATE that cannot be read excludes nothing",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
        problems=["bad-exdate"],
    ),
    Case(
        "dates/exdate_empty",
        "RFC 5545 3.8.5.1",
        "an empty EXDATE excludes nothing",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "dates/exdate_all_day",
        "RFC 5545 3.8.5.1",
        "DATE on an all-day series",
        ["01-04T23:00/01-05T23:00 BUSY opaque", "01-06T23:00/01-07T23:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_all_day_midnight",
        "RFC 5545 3.8.5.1",
        "a local midnight on an all-day series",
        ["01-04T23:00/01-05T23:00 BUSY opaque", "01-06T23:00/01-07T23:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_all_day_utc",
        "RFC 5545 3.8.5.1",
        "that midnight in UTC",
        ["01-04T23:00/01-05T23:00 BUSY opaque", "01-06T23:00/01-07T23:00 BUSY opaque"],
    ),
    Case(
        "dates/exdate_all_day_utc_midnight",
        "RFC 5545 3.8.5.1",
        "the day written as a UTC midnight",
        ["01-04T23:00/01-05T23:00 BUSY opaque", "01-06T23:00/01-07T23:00 BUSY opaque"],
    ),
    Case(
        "dates/exrule",
        "RFC 2445 4.8.5.2",
        "EXRULE is gone from iCalendar: it excludes nothing, and that is said",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
        problems=["exrule-ignored"],
    ),
    Case(
        "dates/exdate_period",
        "RFC 5545 3.8.5.1",
        "a period is no EXDATE; its start counts",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
]
