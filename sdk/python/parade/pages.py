"""Lists that come in pages."""

from collections.abc import AsyncIterator
from typing import Any

from parade.patience import patiently

PAGE_SIZE = 1000
"""How many of a list come with one answer."""


async def pages(method: Any, request: Any) -> AsyncIterator[Any]:
    """Yields every page of a list.

    Args:
        method: The method of a stub that gives one page.
        request: What is asked for; the token of the next page is written into it.
    """
    while True:
        page = await patiently(lambda: method(request))
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def first(method: Any, request: Any, items: str, limit: int) -> list[Any]:
    """Returns the first of a list.

    Args:
        method: The method of a stub that gives one page.
        request: What is asked for.
        items: The field of a page that has them.
        limit: How many at most.
    """
    request.page_size = min(limit, PAGE_SIZE)
    found: list[Any] = []
    async for page in pages(method, request):
        found += getattr(page, items)
        if len(found) >= limit:
            break
    return found[:limit]
