"""Teaches schemathesis lines of JSON, as an export and an import have them."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    if isinstance(value, bytes):
        return value
    return (json.dumps(value) + "\n").encode("utf-8", "surrogatepass")


@schemathesis.deserializer("application/x-ndjson")
def first_line(ctx, response):
    """The document describes one line; the last one is the end."""
    first = response.content.decode().splitlines()[0]
    return {} if "end" in json.loads(first) else json.loads(first)
