"""The conflicts in the table of routes."""

from gateway.api.booking import conflict_shapes as shapes
from gateway.api.booking import conflicts
from gateway.api.http.routing import Route

_CONFLICT = "/v1/conflicts/{conflict}"

CONFLICTS: tuple[Route, ...] = (
    Route(
        "GET",
        "/v1/conflicts",
        conflicts.list_conflicts,
        "List conflicts between here and iCloud",
        "Status",
        query=shapes.ConflictQuery,
        answer=shapes.ConflictPage,
    ),
    Route(
        "GET",
        _CONFLICT,
        conflicts.get_conflict,
        "Show a conflict with both versions",
        "Status",
        answer=shapes.ConflictDetail,
    ),
    Route(
        "POST",
        _CONFLICT + "/resolve",
        conflicts.resolve_conflict,
        "Resolve a conflict",
        "Status",
        body=shapes.ResolveConflict,
        answer=shapes.ConflictOut,
        problems=(
            "conflict-resolved",
            "conflict-not-restorable",
            "slot-taken",
            "availability-unknown",
        ),
    ),
)
