"""The audit in PostgreSQL: what was changed by whom, and every statement about it."""

import os
import pwd
from datetime import datetime
from enum import StrEnum

from sqlalchemy import bindparam, insert

from jabba import ids
from jabba.persistence.database import Transaction
from jabba.persistence.schema import audit


class Action(StrEnum):
    """What can be done."""

    SUBMIT = "submit"
    CREATE_KEY = "create_key"
    REVOKE_KEY = "revoke_key"


async def add_of_key(transaction: Transaction, action: Action, key: str, at: datetime) -> None:
    """Note what is done to a key, and which user of the operating system does it."""
    row = {
        "id": str(ids.new_job_id(at.timestamp())),
        "at": at,
        "action": action,
        "about_key": key,
        "user_name": _user(),
    }
    await transaction.execute(_ADD_OF_KEY, row)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


_ADD_OF_KEY = insert(audit).values({name: bindparam(name) for name in ("id", "at", "action", "about_key", "user_name")})
