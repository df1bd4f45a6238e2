"""``/docs``: the OpenAPI document as a page for people, without scripts or foreign assets."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from gateway.api.wire.codes import CODES

STYLE = """
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
code{overflow-wrap:break-word}
td{overflow-wrap:anywhere}
pre{border:1px solid var(--line);border-radius:6px;padding:.75rem;overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}
section{border-top:1px solid var(--line);margin-top:2rem}
nav ul{list-style:none;padding:0}
:target{outline:2px solid Highlight;outline-offset:.4rem}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
DOCS_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_CODE_WORD = re.compile(r"`([^`]+)`")
_templates = Environment(loader=PackageLoader("gateway.api.description"), autoescape=True)
_METHODS = ("get", "post", "put", "patch", "delete")


def render_docs(document: bytes) -> str:
    """Render the page from the OpenAPI document."""
    plain = orjson.loads(document)
    groups: dict[str, list[dict[str, Any]]] = {}
    for operation in _operations(plain):
        groups.setdefault(operation["tag"], []).append(operation)
    return _templates.get_template("docs.html.jinja").render(
        info=plain["info"], openapi=plain["openapi"], groups=groups, codes=CODES, style=_style()
    )


def _style() -> Markup:
    return Markup(STYLE)  # noqa: S704  # our own constant


def _code_words(text: str) -> Markup:
    """Show what the document writes between backticks as code."""
    escaped = str(escape(text))  # as plain text: joining Markup would escape our tags too
    return Markup(_CODE_WORD.sub(r"<code>\1</code>", escaped))  # noqa: S704


_templates.filters["code_words"] = _code_words


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield _operation(methods[method], method, path, schemas)


def _operation(
    found: Mapping[str, Any], method: str, path: str, schemas: Mapping[str, Any]
) -> dict[str, Any]:
    status, good = next(iter(found["responses"].items()))
    return {
        "id": found["operationId"],
        "method": method.upper(),
        "path": path,
        "tag": found["tags"][0],
        "summary": found["summary"],
        "description": found["description"],
        "parameters": [
            {
                "name": p["name"],
                "in": p["in"],
                "required": p["required"],
                "what": _what(p["schema"]),
            }
            for p in found["parameters"]
        ],
        "body": _shape_of(found.get("requestBody"), schemas),
        "status": status,
        "answer": _shape_of(good, schemas),
    }


def _what(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    example = f", like {schema['examples'][0]}" if schema.get("examples") else ""
    return str(schema.get("format") or schema.get("type", "")) + example


def _shape_of(holder: Mapping[str, Any] | None, schemas: Mapping[str, Any]) -> str:
    content = (holder or {}).get("content", {}).get("application/json")
    if content is None:
        return ""
    return orjson.dumps(_shape(content["schema"], schemas, 0), option=orjson.OPT_INDENT_2).decode()


def _shape(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    """Show a schema as an example of its shape: words for types, null where it may be null."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<{name}>" if depth > 6 else _shape(schemas[name], schemas, depth + 1)
    if "anyOf" in schema:
        shapes = [_shape(one, schemas, depth) for one in schema["anyOf"]]
        plain = [one for one in shapes if one != "null"]
        if isinstance(plain[0], str) and len(plain) < len(shapes):
            return f"{plain[0]} or null"
        return plain[0]
    if schema.get("type") == "object":
        return _object_shape(schema, schemas, depth)
    if schema.get("type") == "array":
        return [_shape(schema.get("items", {}), schemas, depth)]
    return _what(schema) or "any"


def _object_shape(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    properties = schema.get("properties")
    if properties is None:
        return {"<id>": _shape(schema.get("additionalProperties") or {}, schemas, depth)}
    needed = schema.get("required", [])
    return {
        name if name in needed else f"{name}?": _shape(one, schemas, depth)
        for name, one in properties.items()
    }
