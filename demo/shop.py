"""Callbacks of an imaginary shop, for the tutorial."""

import jabba

CREDIT = 100


@jabba.callback
async def reserve(order: int) -> dict[str, int]:
    """Async callbacks run in the worker's event loop."""
    return {"reserved": order}


@jabba.callback
def charge(order: int, amount: float) -> dict[str, float]:
    """Others run in its threads. TaskError fails a task with a result; any other exception rescues it."""
    if amount > CREDIT:
        raise jabba.TaskError({"order": order, "reason": "the card was declined"})
    return {"charged": amount}


@jabba.callback
async def ship(order: int) -> dict[str, str]:
    """With ``current_task`` a callback can tell a repeated delivery from a new one."""
    return {"parcel": f"{order}-{jabba.current_task().attempt}"}
