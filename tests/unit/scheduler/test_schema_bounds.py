"""Which JSON Schemas are taken: those that a value can be held against in time."""

from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.language.inputs import validator

TREE = {
    "type": "object",
    "properties": {"left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "right": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["left"],
}
JSON = {
    "$defs": {
        "value": {
            "anyOf": [
                {"type": "array", "items": {"$ref": "#/$defs/value"}},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}},
                {"type": ["string", "number"]},
            ]
        }
    },
    "$ref": "#/$defs/value",
}


def chain(length: int, times: int) -> dict[str, Any]:
    """Returns a schema whose definitions each refer to the next one several times."""
    links = {f"a{number}": {"allOf": [{"$ref": f"#/$defs/a{number + 1}"}] * times} for number in range(length)}
    return {"$defs": {**links, f"a{length}": {"type": "integer"}}, "$ref": "#/$defs/a0"}


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        ({"type": "integer"}, 1, "x"),
        (TREE, {"left": {"left": None}}, {"left": {"right": None}}),
        (JSON, {"a": [1, {"b": "c"}]}, {"a": [1, {"b": None}]}),
        (chain(60, 1), 1, "x"),
        ({"$defs": {"a/b": {"prefixItems": [{"type": "string"}]}}, "$ref": "#/$defs/a~1b/prefixItems/0"}, "x", 1),
        ({"$id": "https://example.org/pet", "properties": {"$id": {"type": "string"}}}, {"$id": "x"}, {"$id": 1}),
    ],
    ids=["plain", "tree", "json", "chain", "pointer", "named"],
)
def test_a_schema_of_reasonable_size_is_taken(schema: Any, fits: Any, fails: Any) -> None:
    taken = validator(schema)

    assert taken.is_valid(fits)
    assert not taken.is_valid(fails)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (chain(30, 2), "more than 10,000 parts"),
        (chain(4, 11), "more than 10,000 parts"),
        ({"allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]}, "`#` refers to itself more than once"),
        ({"properties": {"a": {"allOf": [{"$ref": "#"}] * 2}}}, "`#` refers to itself more than once"),
        ({"$ref": "#", "items": {"$ref": "#"}}, "`#` refers to itself more than once"),
        ({"patternProperties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}, "`#` refers to itself more than once"),
        (
            {
                "$defs": {
                    "a": {"items": {"$ref": "#/$defs/b"}},
                    "b": {"allOf": [{"items": {"$ref": "#/$defs/a"}}, {"contains": {"$ref": "#/$defs/c"}}]},
                    "c": {"allOf": [{"$ref": "#/$defs/a"}]},
                },
                "$ref": "#/$defs/a",
            },
            "refers to itself more than once",
        ),
        ({"$ref": "#/$defs/gone"}, "leads nowhere"),
        ({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}, "is not followed"),
        ({"$ref": "file:///etc/passwd"}, "is not followed"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "is not followed"),
        ({"$dynamicRef": "#x", "$dynamicAnchor": "x"}, "is not understood"),
        ({"$defs": {"a": {"$id": "b", "$defs": {"c": {"$ref": "#/x"}}}}, "$ref": "#/$defs/a/$defs/c"}, "`$id` may stand at its top only"),
        (chain(160, 1), "nested more than 150 deep"),
        ({"allOf": [{"$ref": f"#/$defs/a{n}"} for n in range(201)], "$defs": {f"a{n}": {} for n in range(201)}}, "more than 200"),
    ],
)
@pytest.mark.timeout(10)
def test_a_schema_that_could_take_too_long_is_refused(schema: Any, why: str) -> None:
    with pytest.raises(ParadeError, match="this JSON Schema is not taken") as caught:
        validator(schema)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert why in caught.value.message
