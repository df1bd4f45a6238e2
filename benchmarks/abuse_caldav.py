"""Abuses of the CalDAV face; see :mod:`benchmarks.abuse`."""

from benchmarks.abuse import Abuse

ABUSES: tuple[Abuse, ...] = ()
