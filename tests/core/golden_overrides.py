"""RECURRENCE-ID: moved, cancelled, orphan overrides, THISANDFUTURE, revisions.

The files are in ``tests/calendars/overrides``.
"""

from tests.core.golden import Case

CASES = [
    Case(
        "overrides/moved",
        "RFC 5545 3.8.4.4",
        "an instance moved within its day",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/moved_utc",
        "RFC 5545 3.8.4.4",
        "RECURRENCE-ID in UTC",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/moved_other_zone",
        "RFC 5545 3.8.4.4",
        "RECURRENCE-ID in another zone",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/moved_floating_id",
        "RFC 5545 3.8.4.4",
        "RECURRENCE-ID without its TZID",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/moved_by_day",
        "RFC 5545 3.8.4.4",
        "a DATE for a timed series means that day, as a last resort",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
        problems=["recurrence-id-by-day"],
    ),
    Case(
        "overrides/moved_override_first",
        "RFC 5545 3.6.1",
        "the override written before its master",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/moved_out_of_window",
        "RFC 5545 3.8.4.4",
        "moved away: the time it had is free",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
        open_ended=True,
    ),
    Case(
        "overrides/moved_into_window",
        "RFC 5545 3.8.4.4",
        "an instance of last year moved into this one",
        ["01-06T14:00/01-06T16:00 BUSY opaque"],
    ),
    Case(
        "overrides/moved_onto_another",
        "RFC 5545 3.8.4.4",
        "two instances at the same time are both there",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/cancelled_override",
        "RFC 5545 3.8.1.11",
        "a cancelled instance is free",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 FREE cancelled",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/cancelled_without_start",
        "RFC 5545 3.8.1.11",
        "a cancellation that lost its DTSTART",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 FREE cancelled",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/cancelled_master",
        "RFC 5545 3.8.1.11",
        "a cancelled series with one instance still on",
        [
            "01-05T09:00/01-05T10:00 FREE cancelled",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 FREE cancelled",
        ],
    ),
    Case(
        "overrides/transparent_override",
        "RFC 5545 3.8.2.7",
        "one instance made free",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 FREE transparent",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/opaque_override",
        "RFC 5545 3.8.2.7",
        "one instance of a free series made busy",
        [
            "01-05T09:00/01-05T10:00 FREE transparent",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 FREE transparent",
        ],
    ),
    Case(
        "overrides/declined_instance",
        "RFC 5545 3.2.12",
        "one instance declined",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 FREE declined",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/orphan",
        "RFC 5545 3.8.4.4",
        "an override of an instance that is not there counts at its own time",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
            "02-21T09:00/02-21T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/orphans_only",
        "RFC 5545 3.8.4.4",
        "an invitation to single instances: no master at all",
        ["01-06T14:00/01-06T16:00 BUSY opaque", "01-07T12:00/01-07T13:00 BUSY opaque"],
    ),
    Case(
        "overrides/excluded_and_overridden",
        "RFC 5545 3.8.5.1",
        "EXDATE and override for one instance: the override stands",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/excluded_later",
        "RFC 5545 3.8.7.4",
        "unless the master is a later revision: then it was deleted",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-07T09:00/01-07T10:00 BUSY opaque"],
    ),
    Case(
        "overrides/two_revisions_of_master",
        "RFC 5545 3.8.7.4",
        "of two masters the later revision",
        ["01-05T09:00/01-05T10:00 BUSY opaque"],
    ),
    Case(
        "overrides/two_masters",
        "RFC 4791 4.1",
        "two masters of one revision: both count",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-09T09:00/01-09T10:00 BUSY opaque"],
    ),
    Case(
        "overrides/two_revisions_of_override",
        "RFC 5545 3.8.7.4",
        "of two overrides of one instance the later revision",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/two_revisions_by_stamp",
        "RFC 5545 3.8.7.2",
        "equal SEQUENCE: the later DTSTAMP",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/bad_recurrence_id",
        "RFC 5545 3.8.4.4",
        "it cannot be told which instance it replaces: all stay, it counts too",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-06T14:00/01-06T16:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
        problems=["bad-recurrence-id"],
    ),
    Case(
        "overrides/override_of_rdate",
        "RFC 5545 3.8.5.2",
        "an override of an RDATE",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
            "01-10T12:00/01-10T13:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/override_of_first",
        "RFC 5545 3.8.4.4",
        "an override of the first instance",
        [
            "01-05T12:00/01-05T13:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/all_day_override",
        "RFC 5545 3.8.4.4",
        "an all-day series with one day moved",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
            "01-09T23:00/01-10T23:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/all_day_override_midnight",
        "RFC 5545 3.8.4.4",
        "RECURRENCE-ID as a local midnight, as Exchange writes it",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
            "01-09T23:00/01-10T23:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/all_day_becomes_timed",
        "RFC 5545 3.8.4.4",
        "one day of an all-day series given a time",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-06T12:00/01-06T13:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/timed_becomes_all_day",
        "RFC 5545 3.8.4.4",
        "one instance of a timed series made all-day",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-05T23:00/01-06T23:00 BUSY opaque",
            "01-07T09:00/01-07T10:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/this_and_future",
        "RFC 5545 3.2.13",
        "two hours later and twice as long, from the second on",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T11:00/01-06T13:00 BUSY opaque",
            "01-07T11:00/01-07T13:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/this_and_future_over_spring",
        "RFC 5545 3.2.13",
        "the difference is one on the clock",
        [
            "03-27T09:00/03-27T10:00 BUSY opaque",
            "03-28T11:00/03-28T12:00 BUSY opaque",
            "03-29T10:00/03-29T11:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/this_and_future_cancelled",
        "RFC 5545 3.2.13",
        "cancelled from there on",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T09:00/01-06T10:00 FREE cancelled",
            "01-07T09:00/01-07T10:00 FREE cancelled",
        ],
    ),
    Case(
        "overrides/this_and_future_twice",
        "RFC 5545 3.2.13",
        "the last one before an instance decides, measured from the original",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T11:00/01-06T12:00 BUSY opaque",
            "01-07T14:00/01-07T15:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/this_and_future_with_single",
        "RFC 5545 3.2.13",
        "a single override after it keeps its own time",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-06T11:00/01-06T12:00 BUSY opaque",
            "01-07T20:00/01-07T21:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/this_and_future_days_later",
        "RFC 5545 3.2.13",
        "moved far: instances of before the window come into it",
        ["01-05T09:00/01-05T10:00 BUSY opaque", "01-06T09:00/01-06T10:00 BUSY opaque"],
    ),
    Case(
        "overrides/this_and_future_all_day",
        "RFC 5545 3.2.13",
        "an all-day series moved by a day",
        [
            "01-04T23:00/01-05T23:00 BUSY opaque",
            "01-06T23:00/01-07T23:00 BUSY opaque",
            "01-07T23:00/01-08T23:00 BUSY opaque",
        ],
    ),
    Case(
        "overrides/split_series",
        "RFC 5545 3.8.5.3",
        "how Apple changes the future: the old series ends, a new one begins",
        [
            "01-05T09:00/01-05T10:00 BUSY opaque",
            "01-12T09:00/01-12T10:00 BUSY opaque",
            "01-19T13:00/01-19T14:00 BUSY opaque",
            "01-26T13:00/01-26T14:00 BUSY opaque",
        ],
    ),
]
