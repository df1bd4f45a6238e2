"""Entity tags and sync tokens: what tells a client whether something changed (R21)."""

from email.utils import formatdate

from gateway.store.objects.collections import Collection

TOKEN_PREFIX = "urn:icloud-caldav-gateway:sync:"  # noqa: S105  (it names a state, no secret)


def quoted(etag: str) -> str:
    """Return an etag as it stands in a header."""
    return etag if etag.startswith('"') else f'"{etag}"'


def ctag_of(row: Collection) -> str:
    """Return the ctag of a calendar: it changes when and only when the revision does."""
    return f'"{row.incarnation}-{row.revision}"'


def token_of(row: Collection, revision: int | None = None) -> str:
    """Return the sync token of the state a row was read in, or of a revision (RFC 6578)."""
    at = row.revision if revision is None else revision
    return f"{TOKEN_PREFIX}{row.incarnation}:{at}"


def revision_of(row: Collection, token: str) -> int:
    """Return the revision behind a token of this calendar; raises ``ValueError``."""
    prefix = f"{TOKEN_PREFIX}{row.incarnation}:"
    text = token.removeprefix(prefix)
    if not token.startswith(prefix) or not text.isascii() or not text.isdigit():
        raise ValueError("this sync token belongs to another collection")
    revision = int(text)
    if not row.valid_from_revision <= revision <= row.revision:
        raise ValueError("this sync token is too old")
    return revision


def http_date(at: int) -> str:
    """Return UTC epoch seconds as an HTTP date."""
    return formatdate(at, usegmt=True)
