"""The engine of a worker: lanes run slices, their records make every step durable, versions settle who is right.

Nothing here touches a socket, a clock or Faust. Kafka, time and callbacks stand behind the ports in ``ports.py``, so
that the engine runs unchanged in a simulator.
"""
