"""What a person meets: a word of help in a browser, and Apple's configuration profile."""

import plistlib
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from gateway.store.access.principals import get_principal
from storage_plugin.http.errors import Answer, DavError
from storage_plugin.requests import Request

PROFILE_PATH = "/.mobileconfig"
_IDENTIFIER = "org.icloud-caldav-gateway.account"
_WELCOME = (
    "This is a CalDAV server. Add this address, with your device login and its password, as a\n"
    "CalDAV account in your calendar app. On an Apple device open /.mobileconfig here instead.\n"
)


def welcome() -> Answer:
    """Answer a browser at the root."""
    return HTTPStatus.OK, {"Content-Type": "text/plain"}, _WELCOME, None


def profile(request: Request) -> Answer:
    """Return a profile that sets up this account on an Apple device: CalDAV only, no password.

    Payload keys are those of Apple's ``com.apple.caldav.account``.
    """
    state = request.state
    principal = get_principal(request.session(), request.user)
    login = state.login.login if state.login is not None else principal.id
    host, port, secure = _public(request)
    account = f"{host}:{port}/{login}"
    payload = {
        "PayloadType": "com.apple.caldav.account",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{_IDENTIFIER}.{login}.caldav",
        "PayloadUUID": str(uuid5(NAMESPACE_URL, f"caldav:{account}")).upper(),
        "PayloadDisplayName": "Calendars",
        "CalDAVAccountDescription": f"Calendars of {principal.name}",
        "CalDAVHostName": host,
        "CalDAVPort": port,
        "CalDAVUseSSL": secure,
        "CalDAVUsername": login,
        "CalDAVPrincipalURL": f"{request.base_prefix}/{principal.id}/",
    }
    whole = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{_IDENTIFIER}.{login}",
        "PayloadUUID": str(uuid5(NAMESPACE_URL, f"profile:{account}")).upper(),
        "PayloadDisplayName": f"Calendars of {principal.name}",
        "PayloadDescription": "Sets up the calendar account. The password is asked for.",
        "PayloadContent": [payload],
    }
    headers = {
        "Content-Type": "application/x-apple-aspen-config",
        "Content-Disposition": 'attachment; filename="calendars.mobileconfig"',
    }
    return HTTPStatus.OK, headers, plistlib.dumps(whole).decode(), None


def _public(request: Request) -> tuple[str, int, bool]:
    """Return host, port and whether TLS is used, as a device sees them."""
    url, environ = request.gateway.settings.public_url, request.environ
    if not url:
        host = environ.get("HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST") or "localhost"
        url = f"{environ['wsgi.url_scheme']}://{host}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port
    except ValueError:
        raise DavError(HTTPStatus.BAD_REQUEST, "", "The Host header names no host.") from None
    secure = parts.scheme == "https"
    return host, port or (443 if secure else 80), secure
