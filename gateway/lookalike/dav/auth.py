"""Who is asking: Basic with an active app-specific password, nothing else."""

import base64
import binascii

from gateway.lookalike.dav.answers import bare, unauthorized
from gateway.lookalike.dav.call import Answer, Call


def read_basic(header: str | None) -> tuple[str, str] | None:
    """Return user name and password of an Authorization header, or None when it is not Basic."""
    scheme, _, rest = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip()).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def authenticate(call: Call) -> Answer | None:
    """Fill in the account, or return the refusal.

    The e-mail is compared without letter case, the password exactly as it was issued, hyphens
    included. Aliases and phone numbers are refused like a wrong password, without being known.
    """
    pair = read_basic(call.headers.get("Authorization"))
    if pair is None:
        return unauthorized(call)
    call.claimed = pair[0]
    account = call.world.accounts.get(pair[0].casefold())
    if account is None:
        return bare(403) if call.on("unknown-user-403") else unauthorized(call)
    if pair[1] not in account.app_passwords or call.on("calendar-switched-off"):
        return unauthorized(call)
    call.account = account
    return None
