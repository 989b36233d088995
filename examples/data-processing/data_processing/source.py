"""Where a table comes from: bytes of a file or of an address, no matter what is in them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

LARGEST = 256 * 1024 * 1024
"""The most bytes of a source."""


class SourceUnavailableError(ConnectionError):
    """The address cannot be reached just now; trying again may help."""


def is_address(source: str) -> bool:
    """Returns whether the source is a web address rather than a path."""
    return source.lower().startswith(("http://", "https://"))


def title_of(source: str) -> str:
    """Returns a name for people, from the last part of the path or address."""
    name = unquote(urlsplit(source).path) if is_address(source) else source
    return Path(name).stem.replace("_", " ").replace("-", " ").strip() or "table"


def read_file(path: Path) -> bytes:
    """Reads a file.

    Raises:
        ValueError: There is none, it is no file, or it is too large.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the path of a CSV file in it")
        if size > LARGEST:
            raise ValueError(f"{path} has {size:,} bytes; at most {LARGEST:,} are read: take a part of it")
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}: check the path") from None
    except PermissionError:
        raise ValueError(f"{path} may not be read: check its permissions") from None


async def read_address(address: str, client: httpx.AsyncClient) -> bytes:
    """Reads what lies at a web address, following redirects.

    Raises:
        ValueError: The address is wrong, answers with a refusal, or holds too much.
        SourceUnavailableError: It cannot be reached, or its server is in trouble.
    """
    content = bytearray()
    try:
        async with client.stream("GET", address, follow_redirects=True) as response:
            if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise SourceUnavailableError(f"{address} answered {response.status_code} {response.reason_phrase}")
            if not response.is_success:
                raise ValueError(f"{address} answered {response.status_code} {response.reason_phrase}: check the address")
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > LARGEST:
                    raise ValueError(f"{address} holds more than {LARGEST:,} bytes: take a part of it")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise ValueError(f"{address} is no address to read from: {error}") from None
    except httpx.TransportError as error:
        raise SourceUnavailableError(f"{address} cannot be reached: {str(error) or type(error).__name__}") from error
    return bytes(content)


async def read(source: str) -> bytes:
    """Reads a path or a web address.

    Raises:
        ValueError: There is nothing to read, and trying again will not help.
        SourceUnavailableError: The address cannot be reached just now.
    """
    if is_address(source):
        async with httpx.AsyncClient(timeout=httpx.Timeout(20, connect=10)) as client:
            return await read_address(source, client)
    return read_file(Path(source).expanduser())
