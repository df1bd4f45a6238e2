"""Shapes of conflicts: times for everybody who may see them, texts for administrators alone."""

from typing import Literal

from gateway.api.wire.shapes import Id, PageQuery, Request, Response
from gateway.api.wire.times import TimeText

Resolution = Literal["kept", "restored"]


class ConflictQuery(PageQuery):
    """Which conflicts to list; resolved ones only when asked for."""

    principal: Id | None = None
    resolved: bool = False


class ConflictOut(Response):
    """An appointment that changed here and in iCloud; ``dropped`` says whose change was not kept.

    ``kind`` is what it was about: the time, the texts, or a change to something that was deleted
    on the other side. ``appointment`` is null when it was deleted.
    """

    id: str
    principal: str
    appointment: str | None
    kind: Literal["time", "text", "deleted-upstream", "deleted-here"]
    dropped: Literal["local", "upstream"]
    created_at: TimeText
    resolved_at: TimeText | None
    resolution: Resolution | None


class ConflictPage(Response):
    """Conflicts, oldest first."""

    conflicts: list[ConflictOut]
    next: str | None


class VersionOut(Response):
    """One side; start and end are those of its first instance. Texts are null without ``admin``."""

    start: TimeText | None
    end: TimeText | None
    recurring: bool
    title: str | None
    description: str | None
    location: str | None


class ConflictDetail(ConflictOut):
    """A conflict with the appointment as it stands (null when deleted) and what was dropped."""

    stands: VersionOut | None
    was_dropped: VersionOut


class ResolveConflict(Request):
    """``kept``: it stays as it is. ``restored``: what was dropped here is to count after all."""

    resolution: Resolution
    allow_overlap: bool = False
