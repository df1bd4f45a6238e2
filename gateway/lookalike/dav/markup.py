"""XML as iCloud writes it: default namespaces declared again on nearly every element.

Clients that look for prefixes fail on it (observed by several). Requests are parsed with lxml
without DTD, entities or network.
"""

import re

from lxml import etree

DAV = "DAV:"
CALDAV = "urn:ietf:params:xml:ns:caldav"
CS = "http://calendarserver.org/ns/"
APPLE = "http://apple.com/ns/ical/"
ME = "http://me.com/_namespace/"

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class BadXmlError(ValueError):
    """The request body is not the XML it must be."""


def dav(name: str) -> str:
    """Clark name in ``DAV:``."""
    return f"{{{DAV}}}{name}"


def cal(name: str) -> str:
    """Clark name in the CalDAV namespace."""
    return f"{{{CALDAV}}}{name}"


def cs(name: str) -> str:
    """Clark name in the calendarserver.org namespace."""
    return f"{{{CS}}}{name}"


def apple(name: str) -> str:
    """Clark name in Apple's iCal namespace."""
    return f"{{{APPLE}}}{name}"


def me(name: str) -> str:
    """Clark name in the me.com namespace."""
    return f"{{{ME}}}{name}"


def parse_xml(body: bytes) -> etree._Element:
    """Parse a request body; raises BadXmlError. No DTD, no entities, no network."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise BadXmlError(str(error)) from None
    if root.getroottree().docinfo.doctype:
        raise BadXmlError("document type declarations are not accepted")
    return root


def split_clark(clark: str) -> tuple[str, str]:
    """Return namespace and local name of a Clark name."""
    namespace, _, local = clark.removeprefix("{").rpartition("}")
    return namespace, local


def escape(text: str) -> str:
    """Escape text for element content; characters XML cannot carry are dropped."""
    text = _ILLEGAL.sub("", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def element(clark: str, inner: str = "", **attributes: str) -> str:
    """Render an element with its namespace declared as the default one."""
    namespace, local = split_clark(clark)
    extra = "".join(
        f" {key.replace('_', '-')}='{escape(value)}'" for key, value in attributes.items()
    )
    declared = f' xmlns="{escape(namespace)}"' if namespace else ""
    head = f"<{local}{declared}{extra}"
    return f"{head}>{inner}</{local}>" if inner else f"{head}/>"


def text_element(clark: str, text: str, **attributes: str) -> str:
    """Render an element holding text."""
    return element(clark, escape(text), **attributes)


def href_element(href: str) -> str:
    """Render a DAV:href; the caller has percent-encoded it."""
    return f'<href xmlns="DAV:">{escape(href)}</href>'


def cdata(text: str) -> str:
    """Render text as CDATA; what XML cannot carry is dropped, ``]]>`` is split."""
    return f"<![CDATA[{_ILLEGAL.sub('', text).replace(']]>', ']]]]><![CDATA[>')}]]>"


def propstat(inner: str, status: str) -> str:
    """Render a propstat with a status line such as ``HTTP/1.1 200 OK`` (may be empty)."""
    return f"<propstat><prop>{inner}</prop><status>{status}</status></propstat>"


def response(href: str, *parts: str) -> str:
    """Render a multistatus response; ``parts`` are propstats or one status element."""
    return f'<response xmlns="DAV:"><href>{escape(href)}</href>{"".join(parts)}</response>\n'


def status_response(href: str, status: str) -> str:
    """Render a response that only has a status, such as a removed member."""
    return response(href, f"<status>{status}</status>")


def multistatus(parts: list[str], *, sync_token: str | None = None) -> bytes:
    """Render a whole multistatus document."""
    token = "" if sync_token is None else f"<sync-token>{escape(sync_token)}</sync-token>"
    return f'{HEAD}<multistatus xmlns="DAV:">\n{"".join(parts)}{token}</multistatus>'.encode(
        "utf-8", "replace"
    )
