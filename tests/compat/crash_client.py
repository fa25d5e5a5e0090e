"""Load on a broker that is killed again and again; what was seen is printed as one JSON object at the end.

    crash_client.py BOOTSTRAP PARTITIONS GROUP TOPIC OTHER_TOPIC...

An idempotent producer with acks=all sends numbers, to each partition of each topic its own row of them; a
record's key is its number modulo KEYS. Readers without a group follow the ends. A group's member commits what it
has read of the first topic, and asks for its commits now and then.
A line on standard input ends the load: the producer is flushed, and the readers go on to the ends.
Prints `ready` once everything has begun to work, and a line for each step of the end.

RECORDS_A_SECOND in the environment is how many are sent to each partition, at most; REQUEST_TIMEOUT_MS is how long a
client waits for an answer until it asks elsewhere.
"""
import json
import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

bootstrap, partition_count, group, topics = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
topic = topics[0]
KEYS = 50
MAX_OUTSTANDING = 20_000 if "RECORDS_A_SECOND" in os.environ else 2000
RECORDS_A_SECOND = float(os.environ.get("RECORDS_A_SECOND", "inf"))
SILENCE_S = 0.5
stopping = threading.Event()
produced = threading.Event()
common = {
    "bootstrap.servers": bootstrap,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 100,
    "retry.backoff.ms": 20,
    "log_level": 0,
}
if "REQUEST_TIMEOUT_MS" in os.environ:
    common["socket.timeout.ms"] = int(os.environ["REQUEST_TIMEOUT_MS"])
report = {
    "acknowledged": {name: [] for name in topics},  # [partition, offset, number] in the order of acknowledgement
    "sent": {name: [0] * partition_count for name in topics},
    "failed": [],
    "fatal": [],
    "seen": {name: [] for name in topics},  # [partition, offset, number] as a reader saw them
    "group": [],  # the same for the group's member
    "commits": [],  # ["commit" | "committed", partition, offset] in the order of the answers
    "silences": [],  # [topic, partition, start, seconds] in which nothing was acknowledged, from SILENCE_S on
}


def on_error(who):
    def told(error):
        if error.fatal():
            report["fatal"].append(f"{who}: {error}")

    return told


def produce():
    producer = Producer({
        **common,
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 2,
        "delivery.timeout.ms": 120_000,
        "error_cb": on_error("producer"),
    })
    outstanding = 0
    heard = {}

    def delivered(error, message):
        nonlocal outstanding
        outstanding -= 1
        place, now = (message.topic(), message.partition()), time.time()
        since = heard.get(place, now)
        heard[place] = now
        if now - since >= SILENCE_S:
            report["silences"].append([*place, since, now - since])
        number = int(message.value().split(b" ")[0])
        if error is not None:
            report["failed"].append([message.topic(), message.partition(), number, str(error)])
        else:
            report["acknowledged"][message.topic()].append([message.partition(), message.offset(), number])

    start, rounds = time.monotonic(), 0
    while not stopping.is_set():
        rounds += 1
        for name in topics:
            for partition in range(partition_count):
                number = report["sent"][name][partition]
                report["sent"][name][partition] += 1
                outstanding += 1
                producer.produce(name, b"%d %s" % (number, b"." * (number * 7 % 300)), key=b"%d" % (number % KEYS),
                                 partition=partition, on_delivery=delivered)
        producer.poll(max(0, start + rounds / RECORDS_A_SECOND - time.monotonic()))
        while outstanding >= MAX_OUTSTANDING:
            producer.poll(0.05)
    producer.flush(60)
    produced.set()


def note(rows, messages):
    for message in messages:
        error = message.error()
        if error is None:
            rows.append([message.partition(), message.offset(), int(message.value().split(b" ")[0])])
        elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
            report["fatal"].append(f"reader: {error}")


def is_done(name, rows):
    """True once the producer has ended and the last number of each partition was read."""
    if not produced.is_set():
        return False
    last = {}
    for partition, _, number in rows[-20_000:]:
        last[partition] = number
    return all(last.get(p) == report["sent"][name][p] - 1 for p in range(partition_count))


def follow(name, deadline):
    consumer = Consumer({
        **common,
        "group.id": f"{group}-nobody",
        "enable.auto.commit": False,
        # Only what is deleted may be gone.
        "auto.offset.reset": "error" if name == topic else "earliest",
        "fetch.wait.max.ms": 100,
        "error_cb": on_error("reader"),
    })
    consumer.assign([TopicPartition(name, p, 0) for p in range(partition_count)])
    rows = report["seen"][name]
    while not is_done(name, rows) and not deadline.is_set():
        note(rows, consumer.consume(500, 0.1))
    consumer.close()


def commit(deadline):
    consumer = Consumer({
        **common,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 200,
        "fetch.wait.max.ms": 100,
        "error_cb": on_error("member"),
    })
    consumer.subscribe([topic])
    everything = [TopicPartition(topic, p) for p in range(partition_count)]
    while not deadline.is_set():
        done = is_done(topic, report["group"])
        note(report["group"], consumer.consume(200, 0.05))
        # Either may fail while the broker is away; only what was answered counts.
        try:
            for it in consumer.commit(asynchronous=False) or []:
                if it.error is None and it.offset >= 0:
                    report["commits"].append(["commit", it.partition, it.offset])
        except KafkaException:
            pass
        try:
            for it in consumer.committed(everything, timeout=2):
                if it.error is None:
                    report["commits"].append(["committed", it.partition, max(it.offset, -1)])
        except KafkaException:
            pass
        if done:
            break
    consumer.close()


deadline = threading.Event()
threads = [threading.Thread(target=produce, daemon=True), threading.Thread(target=commit, args=(deadline,), daemon=True)]
threads += [threading.Thread(target=follow, args=(name, deadline), daemon=True) for name in topics]
for thread in threads:
    thread.start()
while not (report["acknowledged"][topic] and report["seen"][topic] and report["commits"]):
    time.sleep(0.02)
print("ready", flush=True)
sys.stdin.readline()
stopping.set()
threads[0].join(90)
until = time.monotonic() + 60
for thread in threads[1:]:
    thread.join(max(0, until - time.monotonic()))
deadline.set()
for thread in threads[1:]:
    thread.join(5)
print(json.dumps(report), flush=True)
