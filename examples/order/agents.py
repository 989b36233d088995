"""The agents of a shop. What stands on the shelf and in the account is kept in memory, so that one sees what was taken back."""

from typing import Annotated

from pydantic import BaseModel, Field

import parade

stock = parade.Agent("stock")
bank = parade.Agent("bank")
courier = parade.Agent("courier")

shelf = {"kettle": 10, "piano": 2, "chair": 900}
"""How many there are of each article."""
account: list[float] = []
"""What was paid, and paid back."""


class Reservation(BaseModel):
    """Articles that were taken off the shelf."""

    article: str
    count: Annotated[int, Field(ge=1)]


class Delivery(BaseModel):
    """A parcel that was taken in."""

    parcel: str
    by: str


@stock.function(effect="effect")
async def reserve(article: str, count: int) -> Reservation:
    """Takes articles off the shelf."""
    there = shelf.get(article, 0)
    if there < count:
        raise parade.FunctionError(f"there are {there} of the article {article!r}, not {count}")
    shelf[article] = there - count
    return Reservation(article=article, count=count)


@stock.function(effect="effect")
async def release(reservation: Reservation) -> str:
    """Puts articles back on the shelf."""
    shelf[reservation.article] += reservation.count
    return f"{reservation.count} × {reservation.article} back on the shelf"


@stock.function(effect="pure")
async def count(article: str) -> int:
    """Counts an article on the shelf."""
    return shelf.get(article, 0)


@bank.function(effect="effect")
async def charge(total: float) -> float:
    """Takes money."""
    account.append(total)
    return total


@bank.function(effect="effect")
async def refund(paid: float) -> str:
    """Gives money back."""
    account.append(-paid)
    return f"{paid:,.2f} € paid back"


@bank.function(effect="pure")
async def balance() -> float:
    """Adds up the account."""
    return sum(account)


@courier.function(effect="effect")
async def send(address: str, attempt: int) -> str:
    """Sends a parcel on its way."""
    return f"parcel {attempt} to {address}"


@courier.workflow
async def deliver(ctx: parade.WorkflowContext, address: str, wait: float, tries: int = 2) -> Delivery:
    """Sends a parcel until somebody takes it in: who does says so by the signal `delivered`."""
    for attempt in range(1, tries + 1):
        parcel = await ctx.call("courier.send", address=address, attempt=attempt)
        winner = await ctx.race(ctx.wait_signal("delivered"), ctx.sleep(wait))
        if winner.index == 0:
            return Delivery(parcel=parcel, by=winner.value)
        ctx.log.info("nobody was in", parcel=parcel)
    raise parade.FunctionError(f"nobody in {address} has taken the parcel in")
