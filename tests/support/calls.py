"""Calls to a callee, signed as Jabba signs them."""

import json
from base64 import b64encode
from typing import Any
from uuid import UUID, uuid4

from jabba.callbacks import signature
from jabba.callee.wire import Request

SECRET = "whsec_" + b64encode(b"s" * 32).decode()
OTHER_SECRET = "whsec_" + b64encode(b"o" * 32).decode()
TASK = UUID(int=17)
NOW = 1_700_000_000.0


def call_body(function: str, *args: Any, **other: Any) -> dict[str, Any]:
    """Return the document of a call of ``module.function``."""
    module, _, name = function.rpartition(".")
    return {
        "type": "jabba.call",
        "service": "billing",
        "job_id": str(TASK),
        "task_id": str(TASK),
        "run": 0,
        "attempt": 1,
        "module": module,
        "function": name,
        "args": list(args),
        "meta": {},
        **other,
    }


def signed(document: Any, *, id: str | None = None, now: float = NOW, secret: str = SECRET) -> dict[str, Any]:  # noqa: A002
    """Return ``headers`` and ``data`` of a request."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    id = id or f"{uuid4()}-0"  # noqa: A001
    kind = document["type"].removeprefix("jabba.") if isinstance(document, dict) else "call"
    headers = {
        "content-type": "application/json",
        signature.ID: id,
        signature.TIMESTAMP: str(int(now)),
        signature.SIGNATURE: signature.sign(signature.secret_bytes(secret), id, int(now), body),
        "jabba-type": kind,
        "jabba-timeout": "30.0",
    }
    return {"headers": headers, "data": body}


def request(function: str, *args: Any, id: str | None = None, **other: Any) -> Request:  # noqa: A002
    """Return a signed call as a callee gets it."""
    made = signed(call_body(function, *args, **other), id=id)
    return Request("POST", made["headers"], made["data"])
