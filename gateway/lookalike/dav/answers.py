"""The ready-made answers: refusals, tiny HTML pages from the edge, and the usual headers."""

import hashlib

from gateway.lookalike.dav.call import XML_TYPE, Answer, Call
from gateway.lookalike.dav.markup import HEAD, element

_PAGES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
DAV_HEADER = (
    "1, access-control, calendar-access, calendar-schedule, calendar-auto-schedule, "
    "calendarserver-private-events, calendarserver-sharing, extended-mkcol"
)


def bare(status: int) -> Answer:
    """Refuse without a body and without a reason, as iCloud does most of the time."""
    return Answer(status)


def html(status: int) -> Answer:
    """Answer with the edge's own small page, which is no DAV error."""
    title = f"{status} {_PAGES.get(status, 'Error')}"
    page = (
        f"<html><head><title>{title}</title></head><body><h1>{title}</h1>"
        "<hr><center>Apple</center></body></html>"
    )
    return Answer(status, page.encode(), "text/html")


def precondition(status: int, clark: str) -> Answer:
    """Refuse with a DAV:error naming a precondition element."""
    body = f'{HEAD}<error xmlns="DAV:">{element(clark)}</error>'
    return Answer(status, body.encode(), XML_TYPE)


def xml(body: bytes, status: int = 207) -> Answer:
    """Answer with an XML document."""
    return Answer(status, body, XML_TYPE)


def unauthorized(call: Call) -> Answer:
    """401 with an empty body and both challenges; the partition header when the user is known."""
    answer = Answer(401)
    basic, token = 'Basic realm="MMCalDav"', 'X-MobileMe-AuthToken realm="MMCalDav"'
    if call.on("joined-challenges"):
        return answer.add_header("WWW-Authenticate", f"{token}, {basic}")
    answer.add_header("WWW-Authenticate", basic)
    if call.on("two-challenges"):
        answer.add_header("WWW-Authenticate", token)
    return answer


def add_common_headers(call: Call, answer: Answer, request_number: int) -> None:
    """Add the headers seen on iCloud's answers; the partition only for a known user."""
    uuid = hashlib.md5(str(request_number).encode(), usedforsecurity=False).hexdigest()
    answer.add_header("Server", f"AppleHttpServer/{uuid[:12]}")
    answer.add_header("X-Apple-Request-UUID", uuid)
    answer.add_header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    answer.add_header("Via", "xrail:look-alike:1")
    email = (call.account_email or "").casefold()
    account = call.account or call.world.accounts.get(email)
    if account is not None:
        answer.add_header("x-apple-user-partition", account.partition.lstrip("p"))
        instance = f"caldavj:3:{account.partition}-caldavj-look-alike:8080"
        answer.add_header("X-Responding-Instance", instance)
