"""One account's client: verbs, pacing, one retry of safe verbs, status to error.

Basic is sent at once: the challenges iCloud offers confuse clients that wait for them, and a wrong
password must cost one request. Nobody sleeps on 429; redirects are followed here and only inside
the allowed domains (:mod:`gateway.upstream.fences`).
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urljoin

from gateway.core.errors import (
    CredentialRejected,
    SyncTokenExpired,
    UpstreamError,
    UpstreamForbidden,
    UpstreamNotFound,
    UpstreamPrecondition,
    UpstreamThrottled,
    UpstreamUnreachable,
)
from gateway.observe import metrics
from gateway.settings import Settings
from gateway.upstream import icloud
from gateway.upstream.budget import RequestBudget
from gateway.upstream.dav_xml import (
    Fetched,
    LongMultistatus,
    Multistatus,
    SyncChanges,
    crlf,
    fetched_objects,
    listed_members,
    multiget_body,
    parse_multistatus,
    parse_xml,
    propfind_body,
    sync_body,
    sync_changes,
    time_range_body,
)
from gateway.upstream.fences import origin_of, split_url
from gateway.upstream.paths import encode_path
from gateway.upstream.wire import ExchangeBroken, Response, Wire

T = TypeVar("T")

LARGE_ANSWER = 32 * 1024
"""Bytes; reading more than this on the event loop is felt by everybody else on it."""

_SAFE = frozenset({"PROPFIND", "REPORT", "GET", "OPTIONS"})
_XML = {"Content-Type": 'application/xml; charset="utf-8"'}
_REJECTED = (
    "iCloud refused this e-mail and app-specific password. Either the password is wrong or was "
    "revoked (changing the Apple Account password revokes them all), or Calendar is switched off "
    "for this account in iCloud's settings, or the e-mail is an alias: use the address the Apple "
    "Account signs in with."
)


class UpstreamClient:
    """All that is ever asked of one iCloud account; paths in and out are decoded.

    ``origin`` is the entry host, which serves every account. ``home_origin`` is a partition host
    an answer named; it lives in this object only and is dropped when it refuses. While
    ``is_pushing`` a part of the budget is left to those who read.
    """

    def __init__(
        self,
        settings: Settings,
        wire: Wire,
        *,
        email: str,
        app_password: str,
        budget: RequestBudget | None = None,
    ) -> None:
        self.settings = settings
        self.origin = origin_of(settings.upstream_url)
        self.home_origin: str | None = None
        self.requests = 0
        self.is_pushing = False
        self._budget = budget or RequestBudget(settings)
        self._wire = wire
        pair = base64.b64encode(f"{email}:{app_password}".encode()).decode("ascii")
        self._own_headers = {
            "User-Agent": icloud.USER_AGENT,
            "Authorization": f"Basic {pair}",
        }

    # --- verbs ---

    async def propfind(
        self, path: str, properties: tuple[str, ...], *, depth: int, entry: bool = False
    ) -> Multistatus:
        """PROPFIND named properties; ``entry`` asks the entry host whatever is known."""
        answer = await self.ask_properties(path, properties, depth, entry=entry)
        return await _read(answer, _multistatus)

    async def ask_properties(
        self, path: str, properties: tuple[str, ...], depth: int, *, entry: bool = False
    ) -> Response:
        """PROPFIND like :meth:`propfind`, for callers that may not need to read the answer."""
        body = propfind_body(properties)
        return await self._report("PROPFIND", path, body, depth, entry=entry)

    async def members(self, path: str) -> dict[str, str | None]:
        """List a collection: {name: ETag}."""
        answer = await self.ask_properties(path, ("D:getetag",), 1)
        return await _read(answer, lambda body: listed_members(LongMultistatus(body), path))

    async def members_between(self, path: str, start: str, end: str) -> dict[str, str | None]:
        """List the events with an instance between two UTC times (``…Z``): {name: ETag}."""
        answer = await self._report("REPORT", path, time_range_body(start, end))
        return await _read(answer, lambda body: listed_members(LongMultistatus(body), path))

    async def sync_collection(self, path: str, token: str | None) -> SyncChanges:
        """REPORT sync-collection; raises :class:`SyncTokenExpired` when the token is refused."""
        try:
            answer = await self._report("REPORT", path, sync_body(token))
            return await _read(answer, lambda body: sync_changes(LongMultistatus(body), path))
        except CredentialRejected:
            raise
        except UpstreamError as error:
            if error.status in icloud.TOKEN_REFUSALS:
                raise SyncTokenExpired(
                    "iCloud does not accept the sync token any more.", status=error.status
                ) from error
            raise

    async def multiget(self, path: str, names: list[str]) -> dict[str, Fetched]:
        """Fetch members of a collection: {name: object}; what is left out was not answered."""
        if len(names) > icloud.MULTIGET_BATCH:
            raise ValueError("too many names for one multiget")
        answer = await self._report("REPORT", path, multiget_body(path, names))
        return await _read(answer, lambda body: fetched_objects(_multistatus(body)))

    async def get(self, path: str) -> Fetched:
        """GET one object; ``status`` 404 when there is none."""
        name = path.rpartition("/")[2]
        try:
            answer = await self._ask("GET", path, {}, None)
        except UpstreamNotFound as error:
            return Fetched(name, error.status or 404)
        return Fetched(name, 200, answer.etag, crlf(answer.body))

    async def put(self, path: str, body: bytes, *, if_match: str | None) -> str | None:
        """PUT an object: create when ``if_match`` is None, else replace that very version.

        Returns the ETag if one came; it does not promise that our bytes were kept.
        """
        condition = {"If-Match": if_match} if if_match else {"If-None-Match": "*"}
        headers = {"Content-Type": "text/calendar; charset=utf-8", **condition}
        answer = await self._ask("PUT", _object_path(path), headers, crlf(body))
        return answer.etag

    async def delete(self, path: str, *, if_match: str) -> None:
        """DELETE one object in that very version; 404 and 410 raise UpstreamNotFound."""
        await self._ask("DELETE", _object_path(path), {"If-Match": if_match}, None)

    # --- one request ---

    async def _report(
        self, method: str, path: str, body: bytes, depth: int = 1, *, entry: bool = False
    ) -> Response:
        """Ask with an XML body."""
        return await self._ask(method, path, {**_XML, "Depth": str(depth)}, body, entry=entry)

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        entry: bool = False,
    ) -> Response:
        """Send, follow redirects, settle a partition's 401 at the entry host (R4)."""
        base = self.origin if entry else self.home_origin or self.origin
        url = f"{base}{encode_path(path)}"
        for _ in range(icloud.MAX_REDIRECTS):
            answer = await self._send(method, url, headers, body)
            if answer.status == 401 and origin_of(url) != self.origin:
                url = await self._settle_at_entry(path)
                continue
            location = answer.headers.get("location")
            if answer.status not in icloud.REDIRECTS or not location:
                return _checked(answer)
            target = _joined(url, location)
            if split_url(url).scheme == "https" and split_url(target).scheme != "https":
                raise UpstreamUnreachable("iCloud redirected to an unencrypted address.")
            url = target
        raise UpstreamUnreachable("iCloud redirected too often.")

    async def _settle_at_entry(self, path: str) -> str:
        """Ask the entry host once when a partition refused; its 401 is final, else go on there."""
        self.home_origin = None
        probe = propfind_body(("D:current-user-principal",))
        url = f"{self.origin}{encode_path('/')}"
        _checked(await self._send("PROPFIND", url, {**_XML, "Depth": "0"}, probe))
        return f"{self.origin}{encode_path(path)}"

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send within the account's budget and count it.

        A safe verb is repeated once when the connection broke: iCloud drops idle ones.
        """
        sent = {**self._own_headers, **headers}
        may_repeat = method in _SAFE
        while True:
            async with self._budget.request(spare=self.is_pushing):
                self.requests += 1
                status = "none"
                try:
                    answer = await self._wire.request(method, url, sent, body)
                    status = str(answer.status)
                    return answer
                except UpstreamError as error:
                    status = str(error.status or "none")
                    if not (may_repeat and isinstance(error, ExchangeBroken)):
                        raise
                    may_repeat = False
                finally:
                    metrics().upstream_requests.labels(method, status).inc()


def _object_path(path: str) -> str:
    """Guard every write: it must name a calendar object, never a collection.

    DELETE on a shared collection would silently unlink the share for its user.
    """
    name = path.rpartition("/")[2]
    if not name.endswith(".ics") or len(name) <= len(".ics"):
        raise ValueError("only calendar objects are ever written")
    return path


async def _read(answer: Response, take: Callable[[bytes], T]) -> T:
    """Read a 207; a large one in a thread, so that the loop goes on meanwhile."""
    _check_is_multistatus(answer)
    if len(answer.body) < LARGE_ANSWER:
        return take(answer.body)
    return await asyncio.to_thread(take, answer.body)


def read_multistatus(answer: Response) -> Multistatus:
    """Read a 207; raises :class:`UpstreamUnreachable` for anything else."""
    _check_is_multistatus(answer)
    return _multistatus(answer.body)


def _multistatus(body: bytes) -> Multistatus:
    return parse_multistatus(parse_xml(body))


def _check_is_multistatus(answer: Response) -> None:
    if answer.status != 207:
        raise UpstreamUnreachable(
            "iCloud gave an unexpected answer.", status=answer.status, request_id=_id(answer)
        )


def _id(answer: Response) -> str | None:
    return answer.headers.get(icloud.REQUEST_ID_HEADER)


_BY_STATUS: dict[int, tuple[type[UpstreamError], str]] = {
    401: (CredentialRejected, _REJECTED),
    403: (UpstreamForbidden, "iCloud refused this request."),
    404: (UpstreamNotFound, "iCloud has no such resource."),
    410: (UpstreamNotFound, "iCloud has no such resource any more."),
    412: (UpstreamPrecondition, "The object was changed in iCloud, or its name is taken."),
}


def _checked(answer: Response) -> Response:
    """Return a 2xx answer, raise the error of any other."""
    status = answer.status
    if 200 <= status < 300:
        return answer
    if status in (429, 503):
        raise UpstreamThrottled(
            "iCloud asks this account to slow down.",
            status=status,
            retry_after_s=_retry_after_s(answer.headers.get("retry-after", "")),
        )
    kind, detail = _BY_STATUS.get(status, (UpstreamError, "iCloud refused this request."))
    if status >= 500 or 300 <= status < 400:
        kind, detail = UpstreamUnreachable, "iCloud has a problem of its own."
    raise kind(detail, status=status, request_id=_id(answer))


def _retry_after_s(value: str) -> float | None:
    """Read Retry-After, seconds or a date (RFC 9110 10.2.3); None for anything else."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def href_origin(href: str) -> str | None:
    """Return the origin an href names; None when it is a bare path."""
    return origin_of(href.strip()) if split_url(href.strip()).netloc else None


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise UpstreamUnreachable("iCloud redirected to an address that is none.") from None
