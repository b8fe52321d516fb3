"""What `import jabba` offers; loaded when the first of these names is used, since it takes half a second."""

from jabba.callbacks.registry import TaskContext, callback, current_task
from jabba.client import Client, SyncClient
from jabba.errors import (
    Closed,
    Conflict,
    FieldError,
    Forbidden,
    InternalError,
    InvalidArgument,
    InvalidRequest,
    JabbaError,
    LimitExceeded,
    MethodNotAllowed,
    NotFound,
    Refused,
    RequestError,
    RequestTimeout,
    RetryTask,
    TaskError,
    TooExpensive,
    Unauthorized,
    Unavailable,
    WrongSecurity,
)
from jabba.jobs.lifecycle import JobStatus, Strategy, TaskStatus
from jabba.jobs.models import Attempt, Callback, Job, JobEvent, Limits, Progress, Task, TaskDetails, TaskSpec
from jabba.jobs.pages import Count, Page
from jabba.jobs.retry import Retry
from jabba.kafka.security import KafkaSecurity
from jabba.producer import Producer, SyncProducer
from jabba.producer.submission import Delivery, Submitted
from jabba.search import where

__all__ = [
    "Attempt",
    "Callback",
    "Client",
    "Closed",
    "Conflict",
    "Count",
    "Delivery",
    "FieldError",
    "Forbidden",
    "InternalError",
    "InvalidArgument",
    "InvalidRequest",
    "JabbaError",
    "Job",
    "JobEvent",
    "JobStatus",
    "KafkaSecurity",
    "LimitExceeded",
    "Limits",
    "MethodNotAllowed",
    "NotFound",
    "Page",
    "Producer",
    "Progress",
    "Refused",
    "RequestError",
    "RequestTimeout",
    "Retry",
    "RetryTask",
    "Strategy",
    "Submitted",
    "SyncClient",
    "SyncProducer",
    "Task",
    "TaskContext",
    "TaskDetails",
    "TaskError",
    "TaskSpec",
    "TaskStatus",
    "TooExpensive",
    "Unauthorized",
    "Unavailable",
    "WrongSecurity",
    "callback",
    "current_task",
    "where",
]
