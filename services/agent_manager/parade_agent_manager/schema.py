"""Whether a JSON Schema can be used: a bad one, once known, would make every call to its function fail."""

import json

MAX_SCHEMA_BYTES = 256 * 1024
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_fault(schema: bytes, *, of_object: bool) -> str:
    """Returns what is wrong with a schema; empty where nothing is.

    Args:
        schema: The schema as JSON in UTF-8.
        of_object: Whether it must not be of anything but an object.
    """
    if not schema:
        return "a JSON Schema is needed; `{}` lets everything through"
    if len(schema) > MAX_SCHEMA_BYTES:
        return f"is larger than {MAX_SCHEMA_BYTES // 1024} KiB"
    try:
        parsed = json.loads(schema.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return f"is no JSON in UTF-8: {error}"
    if not isinstance(parsed, dict):
        return "must be a JSON object"
    if str(parsed.get("$schema", DIALECT)).removesuffix("#") != DIALECT:
        return f"must be of JSON Schema 2020-12, `{DIALECT}`"
    if of_object and parsed.get("type", "object") != "object":
        return 'must be of an object: its `type` is "object"'
    # Three megabytes, and a mesh without agents needs none of them.
    import jsonschema_rs

    try:
        # References are followed inside the schema alone: no request of ours goes where a caller points to.
        jsonschema_rs.Draft202012Validator(parsed, offline=True)
    except jsonschema_rs.ValidationError as error:
        return f"is no valid JSON Schema: {error.message}"
    except ValueError as error:
        return f"is no valid JSON Schema: {error}"
    return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
