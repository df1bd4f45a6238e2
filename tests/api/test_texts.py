"""One table of odd texts against every field of the OpenAPI document, on both databases (C23).

The fields are read from the document, so that a new one is covered by itself. What is odd beyond
NUL and halves of surrogate pairs may be taken or refused, but alike, and never breaks anything.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import orjson
import pytest

from gateway.api.description.openapi import build_document
from gateway.api.routes.table import ROUTES
from gateway.store.booking.schedules import create_token
from tests.api.conftest import NOW, Place

DOCUMENT: dict[str, Any] = orjson.loads(orjson.dumps(build_document(ROUTES, version="1")))
SCHEMAS = DOCUMENT["components"]["schemas"]

REFUSED = {
    "NUL": "\0",
    "NUL inside": "a\0b",
    "high half": "\ud800",
    "low half": "x\udc00",
    "wrong way round": "\ude00\ud83d",
    "half at the end": "ok\udbff",
}
ODD = {
    "control": "\x01\x1f\x7f",
    "line ends": "a\r\nb\u2028c\x85",
    "no characters": "\ufffe\uffff\U0010ffff",
    "byte order mark": "\ufeffa",
    "right to left": "\u202eabc\u2066",
    "emoji": "\U0001f469\u200d\U0001f467\U0001f3ff",
    "combining": "e" + "\u0301" * 60,
    "quotes": "'\";--\\%_",
}


def fields(schema: dict[str, Any], at: tuple[Any, ...] = (), depth: int = 0) -> Iterator[Any]:
    """Yield the place of every text below a schema: names of members, and 0 for the first item."""
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    if depth > 8:
        return
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from fields(choice, at, depth + 1)
    if schema.get("type") == "string" and "const" not in schema:
        yield at
    if schema.get("type") == "array":
        yield from fields(schema.get("items", {}), (*at, 0), depth + 1)
        for number, item in enumerate(schema.get("prefixItems", ())):
            yield from fields(item, (*at, number), depth + 1)
    for name, member in schema.get("properties", {}).items():
        yield from fields(member, (*at, name), depth + 1)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields(schema["additionalProperties"], (*at, "x"), depth + 1)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def in_bodies() -> dict[str, tuple[str, str, tuple[Any, ...]]]:
    """Every text of every body by name: method, path, place."""
    found = {}
    for method, path, operation in operations():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        for place in dict.fromkeys(fields(body["schema"])) if body else ():
            found[f"{method} {path} {'/'.join(map(str, place))}"] = (method, path, place)
    return found


def in_queries() -> dict[str, tuple[str, str, str]]:
    """Every query parameter by name: method, path, parameter."""
    return {
        f"{method} {path} ?{parameter['name']}": (method, path, parameter["name"])
        for method, path, operation in operations()
        for parameter in operation["parameters"]
        if parameter["in"] == "query"
    }


BODIES, QUERIES = in_bodies(), in_queries()


def body_with(place: tuple[Any, ...], text: str) -> Any:
    """Return a body that holds the text at its place, and nothing else."""
    value: Any = text
    for step in reversed(place):
        value = [*[None] * step, value] if isinstance(step, int) else {step: value}
    return value


def target(path: str, place: Place, token: str) -> str:
    for name, value in {"principal": place.ann.id, "token": token}.items():
        path = path.replace(f"{{{name}}}", value)
    return path.replace("{", "").replace("}", "")


@pytest.fixture
def token(both: Place) -> str:
    with both.database.write() as session:
        return create_token(session, both.ann.id, label="", detail="exact", now=NOW)[1]


def test_the_document_has_texts_everywhere() -> None:
    assert len(BODIES) > 60
    assert len(QUERIES) > 30
    assert any("google" in name for name in BODIES)
    assert any(name.endswith("title") for name in BODIES)


async def test_no_field_of_a_body_takes_what_is_no_text(both: Place, token: str) -> None:
    """As JSON escapes, and as raw bytes where bytes can say it at all."""
    for name, (method, path, place) in BODIES.items():
        for odd, text in REFUSED.items():
            plain = json.dumps(body_with(place, text))
            raw = json.dumps(body_with(place, text), ensure_ascii=False)
            sent = [plain.encode()]
            if "\0" not in text:
                sent.append(raw.encode("utf-8", "surrogatepass"))
            for data in sent:
                answer = await both.admin.send(
                    method,
                    target(path, both, token),
                    data=data,
                    headers={"Content-Type": "application/json"},
                )
                problem = await answer.json(content_type=None)
                where = "".join(f"/{step}" for step in place)
                told = (answer.status, problem["code"], [e["pointer"] for e in problem["errors"]])
                status = 400 if "/google/" in path else 422
                assert told == (status, "text-invalid", [where]), (name, odd)


async def test_no_query_parameter_takes_what_is_no_text(both: Place, token: str) -> None:
    for name, (method, path, parameter) in QUERIES.items():
        for odd in (b"\0", b"a\0", b"\xed\xa0\x80", b"\xff", b"\xc3", b"\xf5\x80\x80\x80"):
            query = f"{parameter}={quote_from_bytes(odd)}"
            answer = await both.admin.send(method, f"{target(path, both, token)}?{query}")
            problem = await answer.json(content_type=None)
            told = (answer.status, problem["code"], [e["pointer"] for e in problem["errors"]])
            status = 400 if "/google/" in path else 422
            assert told == (status, "text-invalid", [f"/{parameter}"]), (name, odd)


async def test_no_name_of_a_member_or_parameter_breaks_anything(both: Place) -> None:
    for text in REFUSED.values():
        data = json.dumps({text: 1, "start": text}).encode()
        headers = {"Content-Type": "application/json"}
        answer = await both.admin.send("POST", "/v1/holds", data=data, headers=headers)
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (422, "text-invalid")
        assert "/start" in [fault["pointer"] for fault in problem["errors"]]
    for raw in ("%00", "%ed%a0%80=1", "%ff=1"):
        status, problem = await both.admin.call("GET", f"/v1/principals?{raw}")
        assert (status, problem["code"]) == (422, "parameter-unknown")


@pytest.mark.parametrize("odd", [*REFUSED, *ODD])
async def test_ids_in_a_path_and_headers_break_nothing(both: Place, odd: str) -> None:
    text = {**REFUSED, **ODD}[odd].encode("utf-8", "surrogatepass")
    quoted = quote_from_bytes(text, safe="")
    for path in DOCUMENT["paths"]:
        if "{" in path:
            bent = path.replace("{", "\0").replace("}", "\0").split("\0")
            bent[1::2] = [quoted] * len(bent[1::2])
            answer = await both.admin.send("GET", "".join(bent))
            assert answer.status in (404, 405), path
    for header in ("Idempotency-Key", "X-Request-Id", "If-None-Match", "Authorization"):
        value = text.decode("utf-8", "surrogateescape")
        if any(character in value for character in "\r\n\0") or "\udc00" > value > "\udcff":
            continue
        try:
            answer = await both.admin.send("POST", "/v1/holds", json={}, headers={header: value})
        except (ValueError, UnicodeError):
            continue  # the client itself refuses to send it
        assert answer.status < 500, header


async def test_what_is_odd_is_answered_alike_by_both_databases(both: Place, token: str) -> None:
    """Whole requests with odd texts in each field: never a 500; the same on PostgreSQL as here."""
    span = {"start": "2026-11-02T09:00:00Z", "end": "2026-11-02T10:00:00Z"}
    for text in ODD.values():
        for method, path, body in (
            ("POST", "/v1/appointments", {"principal": both.ann.id, "title": text, **span}),
            ("POST", "/v1/blocked-slots", {"principal": both.ann.id, "title": text, **span}),
            ("POST", "/v1/subaccounts", {"name": text}),
            ("POST", "/v1/compat/google/freeBusy", google(span, text)),
        ):
            status, _ = await both.admin.call(method, path, {**body, "allow_overlap": True})
            assert status < 500, (path, text)
        for _name, (method, path, place) in BODIES.items():
            status, _ = await both.admin.call(
                method, target(path, both, token), body_with(place, text)
            )
            assert status < 500, (path, place, text)


def google(span: dict[str, str], text: str) -> dict[str, Any]:
    return {"timeMin": span["start"], "timeMax": span["end"], "items": [{"id": text}]}
