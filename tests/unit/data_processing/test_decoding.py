import pytest

from data_processing.decoding import decode


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        pytest.param("a,b\nä,1\n".encode(), "utf-8", id="utf-8"),
        pytest.param("a,b\nä,1\n".encode("utf-8-sig"), "utf-8-sig", id="utf-8 with mark"),
        pytest.param("a,b\nä,1\n".encode("utf-16"), "utf-16", id="utf-16"),
        pytest.param("a,b\nä,1\n".encode("cp1252"), "cp1252", id="windows-1252"),
    ],
)
def test_the_usual_encodings_give_the_same_text(content: bytes, encoding: str) -> None:
    decoded = decode(content)

    assert decoded.text == "a,b\nä,1\n"
    assert decoded.encoding == encoding


def test_bytes_that_windows_1252_does_not_know_are_still_read() -> None:
    assert decode(b"a\n\x81\n").encoding == "latin-1"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b" \n \n", "empty", id="blank lines"),
        pytest.param(b"PK\x03\x04rest", "save the sheet as CSV", id="spreadsheet"),
        pytest.param(b"\x1f\x8brest", "unpack it", id="gzip"),
        pytest.param(b"a,b\x00\x01", "not text", id="binary"),
        pytest.param(b"<!DOCTYPE html><p>", "web page", id="web page"),
        pytest.param(b"\xff\xfea", "save it again as UTF-8", id="broken utf-16"),
    ],
)
def test_what_is_no_table_is_refused_with_advice(content: bytes, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        decode(content)
