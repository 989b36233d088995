"""`python demo.py`: starts a mesh and the agents of the shop, and lets three orders go three ways."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parade
from agents import bank, courier, stock
from parade.testing import Mesh

WORKFLOW = Path(__file__).parent / "order.yaml"
LIMIT = 60.0
"""Seconds that an order may take here."""
LAST = (parade.EventType.STEP_SUCCEEDED, parade.EventType.STEP_FAILED, parade.EventType.STEP_SKIPPED)


@dataclass(frozen=True, slots=True)
class Order:
    """An order, and what people do about it."""

    story: str
    """How it goes."""
    inputs: Mapping[str, Any]
    """What is ordered."""
    approved: bool = True
    """Whether it is approved, where somebody is asked."""
    at_home: bool = True
    """Whether somebody takes the parcel in."""


ORDERS = (
    Order("A kettle is sold.", {"article": "kettle", "total": 39.9, "address": "Rome"}),
    Order("A piano is approved and paid, and nobody takes it in.", {"article": "piano", "total": 4200, "address": "Oslo"}, at_home=False),
    Order("900 chairs are not approved.", {"article": "chair", "count": 900, "total": 27000, "address": "Bern"}, approved=False),
)


async def demonstrate() -> None:
    """Lets every order go its way, and says what is on the shelf and in the account afterwards."""
    async with Mesh() as mesh:
        for agent in (stock, bank, courier):
            await mesh.join(agent)
        client = mesh.client
        await client.put_workflow(WORKFLOW.read_text())
        for order in ORDERS:
            print(order.story)
            async with asyncio.timeout(LIMIT):
                await follow(client, await client.start("order", order.inputs, wait=0.5), order)
        counts = [f"{await client.call('stock.count', article=article)} × {article}" for article in ("kettle", "piano", "chair")]
        print(f"On the shelf: {', '.join(counts)}. In the account: {await client.call('bank.balance'):,.2f} €.")


async def follow(client: parade.Mesh, run: parade.Run, order: Order) -> None:
    """Says what happens in a run, and does what people would do."""
    async for event in run.events():
        if event.step == "approve" and event.type is parade.EventType.TASK_WAITING:
            answer = run.approve if order.approved else run.reject
            await answer("approve", note="said the demonstration")
        if event.child_run_id and event.type is parade.EventType.TASK_STARTED and order.at_home:
            await take_in(client.run(event.child_run_id))
        if event.type in LAST:
            told = event.error.message if event.error is not None else event.message or event.output
            print(f"  {event.step:18} {told}")
    print(f"  {(await run.get()).id} has ended: {await ending(run)}\n")


async def take_in(delivery: parade.Run) -> None:
    """Takes the parcel of a delivery in. Its run is told of a moment before it is there."""
    while True:
        try:
            await delivery.signal("delivered", "Ada")
        except parade.ParadeError as error:
            if error.reason is not parade.Reason.NOT_FOUND:
                raise
            await asyncio.sleep(0.05)
        else:
            return


async def ending(run: parade.Run) -> str:
    """Returns how a run has ended."""
    try:
        return f"taken in by {(await run.result())['delivery']['by']}"
    except parade.ParadeError as error:
        return error.message


if __name__ == "__main__":
    try:
        asyncio.run(demonstrate())
    except KeyboardInterrupt:
        sys.exit(130)
