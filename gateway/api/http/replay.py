"""The Idempotency-Key of a POST (R29): same key and body, same answer, for 24 hours.

Answers of status 401, 403, 429 and 5xx, and conflicts that pass by themselves, are not remembered:
the same request may do better later. While a request runs its reservation is renewed, so that of
a process that died is free some seconds later. The hash of the request is keyed, so a leaked
table tells nothing about guessable bodies.
"""

import asyncio
import hashlib
import re
from types import TracebackType
from typing import Self

from aiohttp import web

from gateway.api.http.state import REQUEST_ID, ApiState
from gateway.api.wire.problems import problem_response, status_of
from gateway.core.errors import InvalidInput, PassingConflict, StoreError
from gateway.observe import logger
from gateway.store.access import idempotency
from gateway.store.access.keys import ApiKey
from gateway.store.engine import Session

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
log = logger("idempotency")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NOT_REMEMBERED = frozenset({401, 403, 429})


def _passes(status: int) -> bool:
    return status >= 500 or status in _NOT_REMEMBERED


class Replay:
    """One request under an Idempotency-Key; an async context that settles the reservation."""

    def __init__(self, key_id: str, key: str, request_hash: bytes, api: ApiState, now: int) -> None:
        self._key_id = key_id
        self._key = key
        self._hash = request_hash
        self._api = api
        self._now = now
        self._reservation: idempotency.Reservation | None = None
        self._recorded = False
        self._renewing: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self.request_id = ""

    @classmethod
    def of(
        cls, request: web.Request, key: ApiKey, api: ApiState, raw: bytes, now: int
    ) -> Self | None:
        """Return the replay the request asks for, None without the header."""
        given = request.headers.getall(HEADER, [])
        if not given:
            return None
        if len(given) > 1 or not _KEY.fullmatch(given[0]):
            raise InvalidInput(
                f"{HEADER} must be 1 to 255 visible ASCII characters.",
                code="idempotency-key-invalid",
            )
        digest = hashlib.sha256(f"{request.method} {request.path_qs}\n".encode() + raw).hexdigest()
        keyed = api.keyring.blind_index(digest, purpose="idempotency")
        replay = cls(key.id, given[0], keyed, api, now)
        replay.request_id = request[REQUEST_ID]
        return replay

    async def begin(self) -> web.Response | None:
        """Reserve the key; returns the earlier answer when there is one."""
        found = await self._api.threads.write_repeatable(
            idempotency.reserve,
            key_id=self._key_id,
            key=self._key,
            request_hash=self._hash,
            now=self._now,
        )
        if isinstance(found, idempotency.Reservation):
            self._reservation = found
            return None
        return web.Response(
            status=found.status,
            body=found.body or None,
            headers={REPLAYED: "true", "Content-Type": found.content_type},
        )

    def record(self, session: Session, status: int, body: bytes | None) -> None:
        """Record the answer in the unit that does the work."""
        if self._reservation is not None:
            idempotency.record_answer(
                session,
                self._reservation,
                status=status,
                content_type="application/json",
                body=body,
            )
            self._recorded = True

    async def finish(self, response: web.StreamResponse, *, secret: bool) -> None:
        """Record the answer of work that took more than one unit."""
        if self._recorded or self._reservation is None:
            return
        if _passes(response.status):
            await self._api.threads.write_repeatable(idempotency.release, self._reservation)
            return
        body = response.body if isinstance(response, web.Response) else b""
        kept = None if secret else bytes(body) if isinstance(body, bytes) else b""
        await self._settle(response.status, response.content_type, kept)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._renewing = loop.call_later(idempotency.RENEW_S, self._start_renewing)
        return self

    def _start_renewing(self) -> None:
        """Only what takes long is renewed: nearly every request has ended before."""
        self._renewing = asyncio.create_task(self._renew(), name="renew an Idempotency-Key")

    async def _renew(self) -> None:
        assert self._reservation is not None
        alive = True
        while alive:
            now = int(self._api.clock())
            try:
                alive = await self._api.threads.write_repeatable(
                    idempotency.renew, self._reservation, now=now
                )
            except StoreError:
                log.warning("an Idempotency-Key could not be renewed", exc_info=True)
            await asyncio.sleep(idempotency.RENEW_S)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if error is None or self._reservation is None:
            return
        status = status_of(error)
        passes = isinstance(error, PassingConflict) or _passes(status)
        if not isinstance(error, Exception) or passes:
            await self._api.threads.write_repeatable(idempotency.release, self._reservation)
            return
        base = self._api.settings.docs_base
        refusal = problem_response(error, self.request_id, base=base)
        body = refusal.body if isinstance(refusal.body, bytes) else b""
        await self._settle(status, refusal.content_type, body)

    async def _settle(self, status: int, content_type: str, body: bytes | None) -> None:
        assert self._reservation is not None
        await self._api.threads.write(
            idempotency.record_answer,
            self._reservation,
            status=status,
            content_type=content_type,
            body=body,
        )
