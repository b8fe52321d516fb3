"""The other side of a callback: a service that Jabba calls over HTTP.

callee = Callee("billing", secrets=["whsec_…"])

@callee.callback("invoices.charge")
async def charge(order: int, amount: float, context: Context) -> dict[str, float]:
    return {"charged": amount}

web.Application().add_subapp("/jabba", callee.aiohttp_app())
"""

from jabba.callee.callee import Callee
from jabba.callee.context import Accepted, Completion, Context, FinalError, current_context
from jabba.callee.functions import InvalidCallback
from jabba.callee.memory import MemoryStore
from jabba.callee.postgres import DDL, PostgresStore, ddl
from jabba.callee.store import ClaimLost
from jabba.errors import RetryTask, TaskError

__all__ = [
    "DDL",
    "Accepted",
    "Callee",
    "ClaimLost",
    "Completion",
    "Context",
    "FinalError",
    "InvalidCallback",
    "MemoryStore",
    "PostgresStore",
    "RetryTask",
    "TaskError",
    "current_context",
    "ddl",
]
