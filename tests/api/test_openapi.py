"""The document is valid OpenAPI 3.1 and says exactly what the routes do."""

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from gateway.api.routes.table import ROUTES
from gateway.api.wire.codes import CODES
from tests.api.conftest import Place


async def test_the_document_is_valid_and_public(place: Place) -> None:
    status, document = await place.nobody.get("/openapi.json")
    assert status == 200
    assert document["openapi"] == "3.1.0"
    validate(document, cls=OpenAPIV31SpecValidator)


async def test_the_document_names_the_routes_the_application_has(place: Place) -> None:
    _, document = await place.nobody.get("/openapi.json")
    documented = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    served = {
        (route.method, (route.resource.canonical if route.resource else ""))
        for route in place.client.app.router.routes()
        if route.method not in ("HEAD", "*")  # what answers 404 and 405
    }
    assert documented == served == {(route.method, route.path) for route in ROUTES}


async def test_operation_ids_are_unique(place: Place) -> None:
    _, document = await place.nobody.get("/openapi.json")
    ids = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert sorted(set(ids)) == sorted(ids)


def test_the_codes_a_route_names_are_explained() -> None:
    assert {code for route in ROUTES for code in route.problems} - set(CODES) == set()


async def test_the_page_has_every_call_and_no_foreign_asset(place: Place) -> None:
    answer = await place.nobody.send("GET", "/docs")
    page = await answer.text()
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert [route.path for route in ROUTES if f"{route.method} {route.path}" not in page] == []
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
