"""Jabba, an asynchronous job manager: submit a job from anywhere, it survives the death of any process."""

from jabba.callbacks import TaskContext, callback, current_task
from jabba.errors import (
    Conflict,
    FieldError,
    InvalidRequest,
    JabbaError,
    LimitExceeded,
    NotFound,
    RequestError,
    TaskError,
    Unavailable,
)
from jabba.lifecycle import JobStatus, Strategy, TaskStatus
from jabba.models import Callback, Job, Task, TaskSpec

__all__ = [
    "Callback",
    "Conflict",
    "FieldError",
    "InvalidRequest",
    "JabbaError",
    "Job",
    "JobStatus",
    "LimitExceeded",
    "NotFound",
    "RequestError",
    "Strategy",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskSpec",
    "TaskStatus",
    "Unavailable",
    "callback",
    "current_task",
]
