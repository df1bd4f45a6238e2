"""The API describes itself: the OpenAPI document and the page made of it."""
