"""`parade workflow`, as far as it needs no mesh."""

import json

from tests.unit.cli.conftest import Parade


def test_the_schema_of_the_language_is_printed(parade: Parade) -> None:
    result = parade("workflow", "schema")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["required"] == ["name", "steps"]
