"""Read every point of a topic once, copies dropped: `python read_kafka.py localhost:9092 bars`."""

import sys

from confluent_kafka import Consumer

brokers, topic = sys.argv[1:]
group = {"group.id": "mine", "session.timeout.ms": 6000, "auto.offset.reset": "earliest"}
reader = Consumer({"bootstrap.servers": brokers} | group)
reader.subscribe([topic])
seen = {}  # the rows read, oldest first; a copy comes soon after its failure
while True:
    message = reader.poll(1.0)
    if message is None:
        continue
    if message.error():
        sys.exit(str(message.error()))
    row = tuple(message.headers() or ())  # none: somebody else's message
    if row in seen:
        continue
    print(message.value().decode(), flush=True)
    if row:
        seen[row] = True
    if len(seen) > 1_000_000:
        del seen[next(iter(seen))]
