"""A program that uses Jabba beside other Kafka code finds aiokafka as it was."""

import subprocess
import sys

CODE = """
import sys, types
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

def state():
    return {
        (name, cls.__qualname__, attribute): value
        for name, module in list(sys.modules.items()) if name.split(".")[0] in ("aiokafka", "kafka")
        for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == name
        for attribute, value in vars(cls).items()
        if isinstance(value, (types.FunctionType, staticmethod, classmethod, property))
    } | {
        (name, function): getattr(module, function).__code__
        for name, module in list(sys.modules.items()) if name.split(".")[0] == "aiokafka"
        for function in vars(module) if isinstance(getattr(module, function), types.FunctionType)
    }

import aiokafka.consumer.group_coordinator, aiokafka.client, aiokafka.conn, aiokafka.cluster
before = state()
import asyncio
import jabba
from jabba import *
import jabba.outbox

async def use():
    producer = jabba.Producer("127.0.0.1:1", produce_seconds=0.1)
    try:
        await producer.check()
    except jabba.Unavailable:
        pass
    await producer.close()

asyncio.run(use())
try:
    with jabba.SyncProducer("127.0.0.1:1", produce_seconds=0.1):
        pass
except jabba.Unavailable:
    pass
after = state()
changed = [key for key in before if after.get(key) != before[key]]
assert not changed, changed
assert ("aiokafka.client", "AIOKafkaClient", "bootstrap") in before and len(before) > 300, len(before)
"""


def test_importing_and_using_the_library_changes_no_class_of_aiokafka() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
