"""The five ways a span of time can count (RFC 5545 3.2.9, and what we add: UNKNOWN)."""

from enum import StrEnum


class FBType(StrEnum):
    """How a span counts; all but UNKNOWN are values of the FBTYPE parameter.

    UNKNOWN is ours: an object was there, but it could not be understood (R25).
    """

    BUSY = "BUSY"
    UNAVAILABLE = "BUSY-UNAVAILABLE"
    UNKNOWN = "UNKNOWN"
    TENTATIVE = "BUSY-TENTATIVE"
    FREE = "FREE"


BLOCKING = (FBType.BUSY, FBType.UNAVAILABLE, FBType.UNKNOWN, FBType.TENTATIVE)
"""All that is not free, the strongest first."""
