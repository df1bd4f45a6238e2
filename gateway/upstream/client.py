"""One account's client: verbs, pacing, one retry of safe verbs, status to error.

The one adapter around caldav's ``AsyncDAVClient``: Basic sent at once (the challenges iCloud
offers confuse clients that wait for them), HTTP/2 retry switched off (a wrong password would cost
two requests), no sleeping on 429, redirects followed here and only inside the allowed domains.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin

from caldav.async_davclient import AsyncDAVClient
from caldav.compatibility_hints import FeatureSet
from caldav.lib import error as dav_error

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
from gateway.upstream import quirks
from gateway.upstream.budget import Budget
from gateway.upstream.reports import (
    Fetched,
    LongMultistatus,
    Multistatus,
    SyncChanges,
    crlf,
    encode_path,
    fetched_objects,
    listed_members,
    multiget_body,
    parse_multistatus,
    parse_xml,
    path_of,
    propfind_body,
    sync_body,
    sync_changes,
    time_range_body,
)
from gateway.upstream.transport import Transport, origin_of, split_url
from gateway.upstream.wire import Broken, TooLarge, TooSlow

T = TypeVar("T")

LARGE_ANSWER = 32 * 1024
"""Bytes; reading more than this on the event loop is felt by everybody else on it."""

_FEATURES = FeatureSet({"http.multiplexing": {"support": "unsupported"}})  # type: ignore[no-untyped-call]
_SAFE = frozenset({"PROPFIND", "REPORT", "GET", "OPTIONS"})
_REJECTED = (
    "iCloud refused this e-mail and app-specific password. Either the password is wrong or was "
    "revoked (changing the Apple Account password revokes them all), or Calendar is switched off "
    "for this account in iCloud's settings, or the e-mail is an alias: use the address the Apple "
    "Account signs in with."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: status, headers and body as sent."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """A digest of the body: equal answers are equal to the byte."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def etag(self) -> str | None:
        """The ETag, exactly as on the wire."""
        return self.headers.get("ETag") or None


class _Dav(AsyncDAVClient):
    """caldav's client on the shared transport; closing it leaves the transport open."""

    def __init__(self, transport: Transport, **options: Any) -> None:
        self._transport = transport
        super().__init__(**options)

    def _create_session(self) -> None:
        self.session = self._transport

    async def close(self) -> None:
        """Leave the shared transport open."""


class UpstreamClient:
    """All that is ever asked of one iCloud account; paths in and out are decoded.

    ``origin`` is the entry host, which serves every account. ``home_origin`` is a partition host
    an answer named; it lives in this object only and is dropped when it refuses. While
    ``is_pushing`` a part of the budget is left to those who read.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        *,
        email: str,
        app_password: str,
        budget: Budget | None = None,
    ) -> None:
        self.settings = settings
        self.origin = origin_of(settings.upstream_url)
        self.home_origin: str | None = None
        self.requests = 0
        self.is_pushing = False
        self._budget = budget or Budget(settings)
        self._dav = _Dav(
            transport,
            url=settings.upstream_url,
            username=email,
            password=app_password,
            auth_type="basic",
            timeout=settings.upstream_timeout_s,
            headers={"User-Agent": quirks.USER_AGENT},
            features=_FEATURES,
            enable_rfc6764=False,
            rate_limit_handle=False,
        )

    # --- verbs ---

    async def propfind(
        self, path: str, properties: tuple[str, ...], *, depth: int, entry: bool = False
    ) -> Multistatus:
        """PROPFIND named properties; ``entry`` asks the entry host whatever is known."""
        answer = await self.ask_properties(path, properties, depth, entry=entry)
        return await _read(answer, _multistatus)

    async def ask_properties(
        self, path: str, properties: tuple[str, ...], depth: int, *, entry: bool = False
    ) -> Answer:
        """PROPFIND like :meth:`propfind`, for callers that may not need to read the answer."""
        body = propfind_body(properties)
        return await self._ask("PROPFIND", path, body, {"Depth": str(depth)}, entry=entry)

    async def members(self, path: str) -> dict[str, str | None]:
        """List a collection: {name: ETag}."""
        answer = await self.ask_properties(path, ("D:getetag",), 1)
        return await _read(answer, lambda body: listed_members(LongMultistatus(body), path))

    async def members_between(self, path: str, start: str, end: str) -> dict[str, str | None]:
        """List the events with an instance between two UTC times (``…Z``): {name: ETag}."""
        answer = await self._ask("REPORT", path, time_range_body(start, end), {"Depth": "1"})
        return await _read(answer, lambda body: listed_members(LongMultistatus(body), path))

    async def sync_collection(self, path: str, token: str | None) -> SyncChanges:
        """REPORT sync-collection; raises :class:`SyncTokenExpired` when the token is refused."""
        try:
            answer = await self._ask("REPORT", path, sync_body(token), {"Depth": "1"})
            return await _read(answer, lambda body: sync_changes(LongMultistatus(body), path))
        except CredentialRejected:
            raise
        except UpstreamError as error:
            if error.status in quirks.TOKEN_REFUSALS:
                raise SyncTokenExpired(
                    "iCloud does not accept the sync token any more.", status=error.status
                ) from error
            raise

    async def multiget(self, path: str, names: list[str]) -> dict[str, Fetched]:
        """Fetch members of a collection: {name: object}; what is left out was not answered."""
        if len(names) > quirks.MULTIGET_BATCH:
            raise ValueError("too many names for one multiget")
        answer = await self._ask("REPORT", path, multiget_body(path, names), {"Depth": "1"})
        return await _read(answer, lambda body: fetched_objects(_multistatus(body)))

    async def get(self, path: str) -> Fetched:
        """GET one object; ``status`` 404 when there is none."""
        name = path.rpartition("/")[2]
        try:
            answer = await self._ask("GET", path)
        except UpstreamNotFound as error:
            return Fetched(name, error.status or 404)
        return Fetched(name, 200, answer.etag, crlf(answer.body))

    async def put(self, path: str, body: bytes, *, if_match: str | None) -> str | None:
        """PUT an object: create when ``if_match`` is None, else replace that very version.

        Returns the ETag if one came; it does not promise that our bytes were kept.
        """
        condition = {"If-Match": if_match} if if_match else {"If-None-Match": "*"}
        headers = {"Content-Type": "text/calendar; charset=utf-8", **condition}
        answer = await self._ask("PUT", _object_path(path), body.decode("utf-8"), headers)
        return answer.etag

    async def delete(self, path: str, *, if_match: str) -> None:
        """DELETE one object in that very version; 404 and 410 raise UpstreamNotFound."""
        await self._ask("DELETE", _object_path(path), "", {"If-Match": if_match})

    # --- one request ---

    async def _ask(
        self,
        method: str,
        path: str,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        entry: bool = False,
    ) -> Answer:
        """Send, follow redirects, settle a partition's 401 at the entry host (R4)."""
        base = self.origin if entry else self.home_origin or self.origin
        url = f"{base}{encode_path(path)}"
        for _ in range(quirks.MAX_REDIRECTS):
            answer = await self._send_safely(method, url, body, headers)
            if answer.status == 401 and origin_of(url) != self.origin:
                url = await self._settle_at_entry(path)
                continue
            location = answer.headers.get("Location")
            if answer.status not in quirks.REDIRECTS or not location:
                return _checked(answer)
            target = _joined(url, location)
            if split_url(url).scheme == "https" and split_url(target).scheme != "https":
                raise UpstreamUnreachable("iCloud redirected to an unencrypted address.")
            url = target
        raise UpstreamUnreachable("iCloud redirected too often.")

    async def _settle_at_entry(self, path: str) -> str:
        """A partition refused: ask the entry host once; its 401 is final, else go on there."""
        self.home_origin = None
        probe = propfind_body(("D:current-user-principal",))
        url = f"{self.origin}{encode_path('/')}"
        _checked(await self._send_safely("PROPFIND", url, probe, {"Depth": "0"}))
        return f"{self.origin}{encode_path(path)}"

    async def _send_safely(
        self, method: str, url: str, body: str, headers: Mapping[str, str] | None
    ) -> Answer:
        """Send; repeat a safe verb once when the connection broke (idle ones are dropped)."""
        try:
            return await self._send(method, url, body, headers)
        except _Broken as error:
            if method not in _SAFE:
                raise UpstreamUnreachable(error.detail) from error
        try:
            return await self._send(method, url, body, headers)
        except _Broken as error:
            raise UpstreamUnreachable(error.detail) from error

    async def _send(
        self, method: str, url: str, body: str, headers: Mapping[str, str] | None
    ) -> Answer:
        """Send within the account's budget and count it."""
        status = "none"
        async with self._budget.parallel:
            await self._budget.take(spare=self.is_pushing)
            self.requests += 1
            try:
                answer = await self._exchange(method, url, body, headers)
                status = str(answer.status)
            except UpstreamError as error:
                status = str(error.status or "none")
                raise
            finally:
                metrics().upstream_requests.labels(method, status).inc()
        return answer

    async def _exchange(
        self, method: str, url: str, body: str, headers: Mapping[str, str] | None
    ) -> Answer:
        """One exchange through caldav's client; its errors and the wire's become ours."""
        try:
            response = await self._dav.request(url, method, body, self._headers(method, headers))
        except dav_error.AuthorizationError as error:
            return Answer(error.status or 401, {}, b"")
        except dav_error.RateLimitError as error:
            raise UpstreamThrottled(
                "iCloud asks this account to slow down.",
                status=getattr(error, "status", None) or 503,
                retry_after_s=error.retry_after_seconds,
            ) from None
        except TooSlow:
            raise UpstreamUnreachable("iCloud did not answer in time.") from None
        except TooLarge:
            raise UpstreamUnreachable(
                "iCloud's answer is larger than this gateway accepts.", status=207
            ) from None
        except Broken as error:
            raise _Broken("The connection to iCloud broke, or nobody is there.") from error
        return Answer(response.status, response.headers, response.headers.body)

    @staticmethod
    def _headers(method: str, headers: Mapping[str, str] | None) -> dict[str, str]:
        xml = {"Content-Type": 'application/xml; charset="utf-8"'}
        return {**(xml if method in ("PROPFIND", "REPORT") else {}), **(headers or {})}


class _Broken(UpstreamUnreachable):
    """The connection broke without an answer: a safe verb may be repeated once."""


def _object_path(path: str) -> str:
    """Guard every write: it must name a calendar object, never a collection.

    DELETE on a shared collection would silently unlink the share for its user.
    """
    name = path.rpartition("/")[2]
    if not name.endswith(".ics") or len(name) <= len(".ics"):
        raise ValueError("only calendar objects are ever written")
    return path


async def _read(answer: Answer, take: Callable[[bytes], T]) -> T:
    """Read a 207; a large one in a thread, so that the loop goes on meanwhile."""
    _check_is_multistatus(answer)
    if len(answer.body) < LARGE_ANSWER:
        return take(answer.body)
    return await asyncio.to_thread(take, answer.body)


def read_multistatus(answer: Answer) -> Multistatus:
    """Read a 207; raises :class:`UpstreamUnreachable` for anything else."""
    _check_is_multistatus(answer)
    return _multistatus(answer.body)


def _multistatus(body: bytes) -> Multistatus:
    return parse_multistatus(parse_xml(body))


def _check_is_multistatus(answer: Answer) -> None:
    if answer.status != 207:
        raise UpstreamUnreachable(
            "iCloud gave an unexpected answer.", status=answer.status, request_id=_id(answer)
        )


def _id(answer: Answer) -> str | None:
    return answer.headers.get(quirks.REQUEST_ID_HEADER)


_BY_STATUS: dict[int, tuple[type[UpstreamError], str]] = {
    401: (CredentialRejected, _REJECTED),
    403: (UpstreamForbidden, "iCloud refused this request."),
    404: (UpstreamNotFound, "iCloud has no such resource."),
    410: (UpstreamNotFound, "iCloud has no such resource any more."),
    412: (UpstreamPrecondition, "The object was changed in iCloud, or its name is taken."),
}


def _checked(answer: Answer) -> Answer:
    """Return a 2xx answer, raise the error of any other."""
    status = answer.status
    if 200 <= status < 300:
        return answer
    if status in (429, 503):
        raise UpstreamThrottled("iCloud asks this account to slow down.", status=status)
    kind, detail = _BY_STATUS.get(status, (UpstreamError, "iCloud refused this request."))
    if status >= 500 or 300 <= status < 400:
        kind, detail = UpstreamUnreachable, "iCloud has a problem of its own."
    raise kind(detail, status=status, request_id=_id(answer))


def href_origin(href: str) -> str | None:
    """Return the origin an href names; None when it is a bare path."""
    return origin_of(href.strip()) if split_url(href.strip()).netloc else None


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise UpstreamUnreachable("iCloud redirected to an address that is none.") from None


__all__ = ["Answer", "Budget", "UpstreamClient", "href_origin", "path_of", "read_multistatus"]
