"""Lists that come in pages, as clients read them."""

import pytest

from parade.pages import PAGE_SIZE, first, pages
from parade.v1 import scheduler_pb2


class Runs:
    """A scheduler that has so many runs."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[int] = []

    async def list(self, request: scheduler_pb2.ListRunsRequest) -> scheduler_pb2.ListRunsResponse:
        self.asked.append(request.page_size)
        begin = int(request.page_token or 0)
        end = min(self.count, begin + request.page_size)
        runs = [scheduler_pb2.Run(id=str(number)) for number in range(begin, end)]
        return scheduler_pb2.ListRunsResponse(runs=runs, next_page_token=str(end) if end < self.count else "")


@pytest.mark.parametrize(("limit", "expected", "requests"), [(5, 5, 1), (1500, 1500, 2), (9000, 2300, 3)])
async def test_as_many_come_as_were_asked_for(limit: int, expected: int, requests: int) -> None:
    runs = Runs(2300)

    found = await first(runs.list, scheduler_pb2.ListRunsRequest(), "runs", limit)

    assert [run.id for run in found] == [str(number) for number in range(expected)]
    assert len(runs.asked) == requests
    assert max(runs.asked) <= PAGE_SIZE


async def test_every_page_comes() -> None:
    runs = Runs(25)

    sizes = [len(page.runs) async for page in pages(runs.list, scheduler_pb2.ListRunsRequest(page_size=10))]

    assert sizes == [10, 10, 5]
