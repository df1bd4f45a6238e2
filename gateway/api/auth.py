"""Who is asking: API keys, their scopes, and the subaccount they are bound to.

``admin`` may do what ``platform`` may, which may do what ``freebusy:read`` may. Keys are looked up
by their hash on every call: on SQLite in their row, on PostgreSQL in memory as long as no key was
changed (:mod:`gateway.store.live`). A revocation holds at once.
"""

from aiohttp import web

from gateway.api.schemas import Scope
from gateway.core.errors import NotAllowed, NotAuthenticated
from gateway.store.keys import ApiKey
from gateway.store.live import Live
from gateway.store.threads import StoreThreads

_RANK: dict[str, int] = {"freebusy:read": 0, "platform": 1, "admin": 2}
_LONGEST_KEY = 200


async def authenticate(request: web.Request, live: Live, threads: StoreThreads) -> ApiKey:
    """Return the key of ``Authorization: Bearer …``; raises :class:`NotAuthenticated`."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise NotAuthenticated("Send an API key: Authorization: Bearer KEY.")
    if not secret.isascii() or len(secret) > _LONGEST_KEY:
        raise NotAuthenticated("The API key is unknown or revoked.")
    live.refresh()
    key = live.find_key(secret) or await threads.read(live.load_key, secret)
    if key is None:
        raise NotAuthenticated("The API key is unknown or revoked.")
    return key


def check_scope(key: ApiKey, needed: Scope) -> None:
    """Raise :class:`NotAllowed` unless the key reaches ``needed``."""
    if max((_RANK.get(scope, -1) for scope in key.scopes), default=-1) < _RANK[needed]:
        raise NotAllowed(f"This needs an API key with the scope {needed}.", code="scope-missing")
