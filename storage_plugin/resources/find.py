"""What is at an address: the one way from a path to rows (R18)."""

from dataclasses import dataclass

from gateway.core.ical.lines import join_folds
from gateway.store.engine import Session
from gateway.store.objects.collections import Collection, find_collection, list_collections
from gateway.store.objects.objects import StoredObject, find_object, list_objects
from storage_plugin.http.handlers import Address

OUTBOX_NAME = "outbox"


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing with properties: ``row`` for calendars and objects, ``member`` for objects."""

    kind: str  # root | home | outbox | calendar | object
    path: str
    row: Collection | None = None
    member: StoredObject | None = None


def find(session: Session, address: Address, *, show_mirrors: bool = True) -> Resource | None:
    """Return what is at an address of the person who asks; None where nothing is.

    Root, home and outbox are answered without a query. An object comes with its body.
    """
    if not address.principal:
        return Resource("root", "/")
    if not address.calendar:
        return Resource("home", f"/{address.principal}/")
    if address == Address(address.principal, OUTBOX_NAME):
        return Resource("outbox", address.collection_path)
    row = find_collection(session, address.principal, address.calendar)
    if row is None or not _is_visible(row, show_mirrors):
        return None
    if not address.name:
        return Resource("calendar", address.collection_path, row)
    member = find_object(session, row.id, address.name)
    return _object(row, member) if member is not None and member.served else None


def find_children(
    session: Session, parent: Resource, principal_id: str, *, show_mirrors: bool = True
) -> list[Resource]:
    """Return what is directly inside; objects come without their bodies."""
    if parent.kind == "root" and principal_id:
        return [Resource("home", f"/{principal_id}/")]
    if parent.kind == "home":
        rows = list_collections(session, principal_id)
        return [
            Resource("calendar", f"/{row.principal_id}/{row.name}/", row)
            for row in rows
            if _is_visible(row, show_mirrors)
        ]
    if parent.kind == "calendar" and parent.row is not None:
        row = parent.row
        return [_object(row, member) for member in list_objects(session, row.id)]
    return []


def _object(row: Collection, member: StoredObject) -> Resource:
    return Resource("object", f"/{row.principal_id}/{row.name}/{member.name}", row, member)


def _is_visible(row: Collection, show_mirrors: bool) -> bool:
    return show_mirrors or row.kind != "mirror"


def to_text(body: bytes) -> str:
    """Decode a stored body; those from clients are UTF-8 and come back byte for byte.

    A fold inside a character (RFC 5545 3.1 allows it) cannot be in a text: those lines are joined.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return join_folds(body).decode("utf-8", "replace").replace("\n", "\r\n")
