"""What `import parade` gives and what it costs."""

import subprocess
import sys

import pytest

import parade


def test_every_public_name_can_be_had() -> None:
    for name in parade.__all__:
        assert getattr(parade, name) is not None
    assert set(parade.__all__) <= set(dir(parade))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        parade.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import parade", ("pydantic", "grpc", "opentelemetry", "google")),
        ("import parade.v1.dispatcher_pb2_grpc", ("pydantic", "typer", "opentelemetry")),
        ("import parade.serve, parade.hosting.process", ("typer", "rich", "yaml", "cryptography")),
    ],
    ids=["parade", "contracts", "agent"],
)
def test_a_program_imports_only_what_it_uses(code: str, absent: tuple[str, ...]) -> None:
    check = f"{code}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True, timeout=30)

    assert result.stdout.strip() == "[]"
