"""Recurrence rules, UNTIL in every form.

The files are in ``tests/calendars/rules``.
"""

from tests.core.golden import Case

CASES = [
    Case(
        "rules/daily_count",
        "RFC 5545 3.3.10",
        "COUNT bounds a rule",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/weekly_no_byday",
        "RFC 5545 3.3.10",
        "the weekday comes from DTSTART",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-12T09:00/01-12T10:00 BUSY opaque"],
    ),
    Case(
        "rules/weekly_two_days",
        "RFC 5545 3.3.10",
        "several weekdays, every other week",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-08T09:00/01-08T10:00 BUSY opaque",
            "01-19T09:00/01-19T10:00 BUSY opaque",
            "01-22T09:00/01-22T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/weekly_wkst",
        "RFC 5545 3.3.10",
        "WKST moves the weeks of an interval",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-18T09:00/01-18T10:00 BUSY opaque",
            "01-19T09:00/01-19T10:00 BUSY opaque",
            "02-01T09:00/02-01T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/monthly_last_weekday",
        "RFC 5545 3.3.10",
        "the last working day of the month",
        ["01-30T09:00/01-30T10:00 BUSY opaque", "02-27T09:00/02-27T10:00 BUSY opaque"],
    ),
    Case(
        "rules/monthly_31",
        "RFC 5545 3.3.10",
        "months without a 31st are skipped",
        ["01-31T09:00/01-31T10:00 BUSY opaque", "03-31T08:00/03-31T09:00 BUSY opaque"],
    ),
    Case(
        "rules/yearly_leap_day",
        "RFC 5545 3.3.10",
        "29 February comes in leap years",
        [
            "2024-02-28T23:00/2024-02-29T23:00 BUSY opaque",
            "2028-02-28T23:00/2028-02-29T23:00 BUSY opaque",
        ],
        window="2024-01-01/2029-01-01",
    ),
    Case(
        "rules/byday_with_blanks",
        "RFC 5545 3.3.10",
        "blanks after commas, as an Exchange server writes them",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/two_rules",
        "RFC 5545 3.8.5.3",
        "two RRULEs are a union",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-12T09:00/01-12T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/start_off_the_rule",
        "RFC 5545 3.8.5.3",
        "DTSTART is an instance even when the rule skips it",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-13T09:00/01-13T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/began_long_ago",
        "RFC 5545 3.8.5.3",
        "the walk jumps to the window",
        ["01-12T09:00/01-12T10:00 BUSY opaque"],
        window="2026-01-01/2026-01-25",
    ),
    Case(
        "rules/until_utc",
        "RFC 5545 3.3.10",
        "UNTIL in UTC is inclusive",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/until_utc_just_before",
        "RFC 5545 3.3.10",
        "one second earlier excludes it",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T09:00/01-06T10:00 BUSY opaque"],
    ),
    Case(
        "rules/until_date_on_time",
        "RFC 5545 3.3.10",
        "a DATE on a timed series means to the end of that day",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/until_local_on_zoned",
        "RFC 5545 3.3.10",
        "a local UNTIL on a zoned series is read on its clock",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/until_local_on_floating",
        "RFC 5545 3.3.10",
        "a floating series has a floating UNTIL",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/until_utc_on_floating",
        "RFC 5545 3.3.10",
        "UTC on a floating series: an instant in the owner's zone",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T09:00/01-06T10:00 BUSY opaque"],
    ),
    Case(
        "rules/until_date_on_date",
        "RFC 5545 3.3.10",
        "DATE on an all-day series",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-05T23:00/01-06T23:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/until_midnight_z_on_date",
        "RFC 5545 3.3.10",
        "a DATE written as a UTC midnight",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-05T23:00/01-06T23:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/until_last_second_z_on_date",
        "RFC 5545 3.3.10",
        "a DATE written as the last second of a UTC day",
        ["01-04T23:00/01-05T23:00 BUSY opaque", "01-05T23:00/01-06T23:00 BUSY opaque"],
    ),
    Case(
        "rules/until_local_midnight_as_utc",
        "RFC 5545 3.3.10",
        "local midnight of the last day, in UTC",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-05T23:00/01-06T23:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/until_before_start",
        "RFC 5545 3.8.2.4",
        "DTSTART is the first instance whatever UNTIL says",
        ["01-05T09:00/01-05T10:00 BUSY opaque"],
    ),
    Case(
        "rules/count_minus_one",
        "RFC 5545 3.3.10",
        "COUNT=-1 means no limit",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T09:00/01-06T10:00 BUSY opaque"],
        window="2026-01-01/2026-01-07",
    ),
    Case(
        "rules/empty_rule",
        "RFC 5545 3.8.5.3",
        "an empty RRULE is none",
        ["01-05T09:00/01-05T10:00 BUSY opaque"],
        problems=["empty-rule"],
    ),
    Case(
        "rules/bad_rule",
        "RFC 5545 3.3.10",
        "a rule that cannot be read: the first is known, the rest is not",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-05T09:00/2027-01-01T00:00 UNKNOWN bad-rule"],
        problems=["bad-rule"],
    ),
    Case(
        "rules/bad_until",
        "RFC 5545 3.3.10",
        "an UNTIL that cannot be read",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-05T09:00/2027-01-01T00:00 UNKNOWN bad-rule"],
        problems=["bad-rule"],
    ),
    Case(
        "rules/bad_byday_with_count",
        "RFC 5545 3.3.10",
        "whatever weekdays were meant, three of them come within three weeks",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-05T09:00/01-19T23:59 UNKNOWN bad-rule"],
        problems=["bad-rule"],
    ),
    Case(
        "rules/bad_bymonthday_with_count",
        "RFC 5545 3.3.10",
        "each day of a month comes again within four months",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-05T09:00/05-09T22:59 UNKNOWN bad-rule"],
        problems=["bad-rule"],
    ),
    Case(
        "rules/bad_rule_of_free_event",
        "RFC 5545 3.8.2.7",
        "a free event is free however it repeats",
        ["01-05T09:00/01-05T10:00 FREE transparent"],
        problems=["bad-rule"],
    ),
    Case(
        "rules/chinese_birthday",
        "RFC 7529 4.1",
        "a rule in another calendar",
        ["02-16T23:00/02-17T23:00 BUSY opaque", "02-16T23:00/2027-01-01T00:00 UNKNOWN bad-rule"],
        problems=["bad-rule"],
    ),
    Case(
        "rules/gregorian_rscale",
        "RFC 7529 4.1",
        "RSCALE=GREGORIAN changes nothing",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T09:00/01-06T10:00 BUSY opaque"],
    ),
    Case(
        "rules/hourly_all_day",
        "RFC 5545 3.3.10",
        "an all-day event cannot repeat by the hour",
        ["01-04T23:00/01-05T23:00 BUSY opaque", "01-04T23:00/2027-01-01T00:00 UNKNOWN bad-rule"],
        problems=["bad-rule"],
    ),
    Case(
        "rules/byhour_on_date",
        "RFC 5545 3.3.10",
        "BYHOUR is ignored for a DATE",
        ["01-04T23:00/01-05T23:00 BUSY opaque", "01-05T23:00/01-06T23:00 BUSY opaque"],
    ),
    Case(
        "rules/byhour",
        "RFC 5545 3.3.10",
        "BYHOUR expands a day",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-05T13:00/01-05T14:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/hourly",
        "RFC 5545 3.3.10",
        "a rule finer than a day",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-05T12:00/01-05T13:00 BUSY opaque",
            "01-05T15:00/01-05T16:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/minutely_hours",
        "RFC 5545 3.8.5.3",
        "every 20 minutes from 10:00 to 11:40",
        [
            "01-05T09:00/01-05T09:10 BUSY opaque",
            "01-05T09:20/01-05T09:30 BUSY opaque",
            "01-05T09:40/01-05T09:50 BUSY opaque",
            "01-05T10:00/01-05T10:10 BUSY opaque",
            "01-05T10:20/01-05T10:30 BUSY opaque",
            "01-05T10:40/01-05T10:50 BUSY opaque",
        ],
    ),
    Case(
        "rules/thirtieth_of_february",
        "RFC 5545 3.3.10",
        "a rule that never matches costs nothing",
        ["01-05T09:00/01-05T10:00 BUSY opaque"],
    ),
    Case(
        "rules/until_empty",
        "RFC 5545 3.3.10",
        "empty parts are as good as absent",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T09:00/01-06T10:00 BUSY opaque"],
    ),
    Case(
        "rules/count_off_the_rule",
        "RFC 5545 3.3.10",
        "DTSTART counts as the first occurrence, though the rule does not yield it",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-13T09:00/01-13T10:00 BUSY opaque",
        ],
    ),
    Case(
        "rules/count_one_off_the_rule",
        "RFC 5545 3.3.10",
        "and alone when COUNT is one",
        ["01-05T09:00/01-05T10:00 BUSY opaque"],
    ),
    Case(
        "rules/bad_rule_until",
        "RFC 5545 3.3.10",
        "a rule that cannot be read reaches no further than its UNTIL",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-05T09:00/01-19T10:00 UNKNOWN bad-rule"],
        problems=["bad-rule"],
    ),
]
