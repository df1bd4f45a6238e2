"""Errors as RFC 9457 problem details: one table from exception to status, one shape.

``code`` is stable, ``detail`` is a sentence for a person, ``errors`` names each culprit with a
JSON pointer (RFC 6901): into the body, or into the object of query parameters of a GET.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.api.wire.times import render_instant
from gateway.core import errors

PROBLEM_JSON = "application/problem+json"
RETRY_SOON_S = 2


class MalformedRequest(errors.InvalidInput):
    """The request cannot be read at all: not JSON, not UTF-8."""

    default_code = "invalid-json"


class UnsupportedMediaType(errors.InvalidInput):
    """The body is not ``application/json``."""

    default_code = "unsupported-media-type"


class BodyTooLarge(errors.InvalidInput):
    """The body is longer than the API reads."""

    default_code = "body-too-large"


class BodyEncoded(errors.InvalidInput):
    """The body is compressed; it is refused before a byte of it is inflated."""

    default_code = "content-encoding-refused"


class BodyTooSlow(errors.GatewayError):
    """The head or the body of a request did not arrive in time."""

    default_code = "request-too-slow"


class TooManyConnections(errors.GatewayError):
    """As many connections are open as there may be, and none of them is idle."""

    default_code = "too-many-connections"


class InvalidRequest(errors.InvalidInput):
    """Several things are wrong with one request; ``faults`` has them all."""

    default_code: ClassVar[str] = "invalid-request"

    def __init__(self, detail: str, faults: Sequence[Mapping[str, str]], *, code: str) -> None:
        super().__init__(detail, code=code)
        self.faults = list(faults)


STATUS: Mapping[type[BaseException], int] = {
    MalformedRequest: 400,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    BodyEncoded: 415,
    BodyTooSlow: 408,
    TooManyConnections: 503,
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.TooManyRequests: 429,
    errors.StateConflict: 409,
    errors.Refused: 422,
    errors.CredentialRejected: 422,
    errors.NotICloud: 422,
    errors.UpstreamThrottled: 503,
    errors.UpstreamError: 502,
    errors.StoreBusy: 503,
    errors.StoreFull: 507,
    errors.SecretUnreadable: 409,
    errors.GatewayError: 500,
}
"""The nearest class in the error's ancestry decides; anything unlisted is 500."""

TITLES: Mapping[int, str] = {
    400: "The request cannot be read",
    401: "A valid API key is needed",
    403: "Not allowed with this key",
    404: "Not found",
    405: "Method not allowed",
    408: "The request took too long",
    409: "Conflict with the present state",
    413: "The request is too large",
    414: "The request is too long",
    415: "Unsupported media type",
    417: "Expectation failed",
    422: "The request cannot be carried out",
    429: "Too many requests",
    500: "Internal error",
    502: "iCloud did not answer as expected",
    503: "Not available at the moment",
    507: "No space left",
}

_HTTP_CODES: Mapping[int, str] = {
    404: "not-found",
    405: "method-not-allowed",
    400: "request-unreadable",
    413: "body-too-large",
    414: "request-too-long",
    417: "expectation-failed",
    500: "internal-error",
}


def status_of(error: BaseException) -> int:
    """Return the HTTP status an exception becomes."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem_response(error: BaseException, request_id: str, *, base: str = "/") -> web.Response:
    """Render an exception; what is not ours tells nothing but its request id.

    ``base`` is the address of the API that the ``type`` links to.
    """
    status = status_of(error)
    if not isinstance(error, errors.GatewayError):
        return _render(status, "internal-error", "Something went wrong here.", request_id, base)
    headers = _headers_of(error, status)
    members = _members_of(error)
    return _render(status, error.code, error.detail, request_id, base, members, headers)


def _members_of(error: errors.GatewayError) -> dict[str, Any]:
    """Return what a kind of problem carries besides the common members."""
    if isinstance(error, errors.InvalidInput | errors.ReferenceNotFound):
        return {"errors": faults_of(error)}
    if isinstance(error, errors.SlotTaken):
        gaps = error.next_free
        return {"next": [{"start": render_instant(a), "end": render_instant(b)} for a, b in gaps]}
    if isinstance(error, errors.VerificationFailed):
        known = [{"id": one, "name": name, "reason": why} for one, name, why in error.calendars]
        first = known[0]["id"] if known else None
        return {"calendar": first, "reason": error.reason, "calendars": known}
    if isinstance(error, errors.ExternalIdTaken):
        return {"appointment": error.appointment_id}
    return {}


def http_problem_response(
    error: web.HTTPException, request_id: str, *, base: str = "/"
) -> web.Response:
    """Render what aiohttp itself refused: unknown paths, wrong methods, bodies too long."""
    code = _HTTP_CODES.get(error.status, "http-error")
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    detail = _HTTP_DETAILS.get(error.status, error.reason)
    return _render(error.status, code, detail, request_id, base, {}, allow)


_HTTP_DETAILS: Mapping[int, str] = {
    404: "There is nothing at this address.",
    405: "This address does not know that method; the Allow header lists those it knows.",
    400: "That is no HTTP request.",
    413: "The body is longer than this address reads.",
    414: "The address, or one of the headers, is longer than 8190 bytes.",
    417: "Of Expect only 100-continue is known here.",
    500: "Something went wrong here.",
}


def faults_of(error: errors.InvalidInput | errors.ReferenceNotFound) -> list[Mapping[str, str]]:
    """List what is wrong with the request, each with pointer, code and detail."""
    if isinstance(error, InvalidRequest):
        return list(error.faults)
    if error.pointer is None:
        return []
    return [{"pointer": error.pointer, "code": error.code, "detail": error.detail}]


def invalid_request(error: ValidationError) -> InvalidRequest:
    """Translate what the models found; a code of ours becomes the code of the whole problem."""
    faults = [_fault(found) for found in error.errors(include_url=False, include_input=False)]
    own = [fault for fault in faults if fault["code"] not in _GENERIC]
    first = own[0] if own else faults[0]
    code = first["code"] if own else "invalid-request"
    where = first["pointer"] or "the request"
    return InvalidRequest(f"{where}: {first['detail']}", faults, code=code)


_MODEL_CODES: Mapping[str, str] = {
    "missing": "missing",
    "extra_forbidden": "unknown-field",
    "too_short": "too-few-items",
    "too_long": "too-many-items",
}
_GENERIC = frozenset({"missing", "unknown-field", "invalid"})


def _fault(found: ErrorDetails) -> dict[str, str]:
    """Name one fault: our own codes have a hyphen, pydantic's are folded into three."""
    kind = found["type"]
    code = kind if "-" in kind else _MODEL_CODES.get(kind, "invalid")
    return {"pointer": pointer(found["loc"]), "code": code, "detail": _sentence(found["msg"])}


def pointer(location: Sequence[Any]) -> str:
    """Write a location as a JSON pointer."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _headers_of(error: errors.GatewayError, status: int) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="gateway"'}
    if isinstance(error, BodyEncoded):
        return {"Accept-Encoding": "identity"}  # RFC 9110 15.5.16
    if isinstance(error, errors.TooManyRequests):
        wait_s = math.ceil(error.retry_after_s)
        return {"Retry-After": str(wait_s), "RateLimit": f'"minute";r=0;t={wait_s}'}
    passing = errors.UpstreamThrottled | errors.PassingConflict
    if isinstance(error, passing) and error.retry_after_s is not None:
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    return {"Retry-After": str(RETRY_SOON_S)} if status == 503 else {}


def _render(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    base: str,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    body = {
        "type": f"{base}docs#{code}",
        "title": TITLES.get(status, "The request was refused"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **(extra or {}),
    }
    return web.Response(
        status=status, body=orjson.dumps(body), content_type=PROBLEM_JSON, headers=headers
    )
