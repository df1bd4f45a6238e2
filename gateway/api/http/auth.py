"""Who is asking: API keys, their scopes, and the subaccount they are bound to.

``admin`` may do what ``platform`` may, which may do what ``freebusy:read`` may. A key is looked up
by its hash; what was found is remembered only as long as :mod:`gateway.store.signals` vouches
that no key was changed since, which is asked on every call. A revocation holds at once.
"""

from functools import cache

from aiohttp import web

from gateway.api.process.guesses import Guesses
from gateway.api.wire.shapes import Scope
from gateway.core.errors import NotAllowed, NotAuthenticated
from gateway.store.access.keys import ApiKey, find_key
from gateway.store.signals import ChangeSignals
from gateway.store.threads import StoreThreads

_RANK: dict[str, int] = {"freebusy:read": 0, "platform": 1, "admin": 2}
_LONGEST_KEY = 200
MOST_REMEMBERED = 10_000


async def authenticate(
    request: web.Request, signals: ChangeSignals, threads: StoreThreads, guesses: Guesses
) -> ApiKey:
    """Return the key of ``Authorization: Bearer …``; raises :class:`NotAuthenticated`.

    It is remembered in ``signals.keys`` under the header as it was sent: look there first. Raises
    :class:`TooManyRequests` without a look at the database when the caller guesses.
    """
    header = request.headers.get("Authorization", "")
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise NotAuthenticated("Send an API key: Authorization: Bearer KEY.")
    if not secret.isascii() or len(secret) > _LONGEST_KEY:
        raise NotAuthenticated("The API key is unknown or revoked.")
    guesses.check(request, secret)
    remembered = signals.keys
    key = signals.read_key(secret) or await threads.read(find_key, secret)
    if key is None:
        guesses.wrong(request, secret)
        raise NotAuthenticated("The API key is unknown or revoked.")
    guesses.right(secret)
    if len(header) <= _LONGEST_KEY:
        if len(remembered) >= MOST_REMEMBERED:
            remembered.clear()
        remembered[header] = key
    return key


def check_scope(key: ApiKey, needed: Scope) -> None:
    """Raise :class:`NotAllowed` unless the key reaches ``needed``."""
    if _rank(key.scopes) < _RANK[needed]:
        raise NotAllowed(f"This needs an API key with the scope {needed}.", code="scope-missing")


@cache
def _rank(scopes: frozenset[str]) -> int:
    return max((_RANK.get(scope, -1) for scope in scopes), default=-1)
