"""librdkafka, through confluent-kafka: one scenario against the broker at argv[1]; prints JSON lines.

The deck of records comes as JSON on standard input, so that both sides compare the same bytes.
"""
import base64
import hashlib
import json
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap = sys.argv[1]
deck = [
    {
        "key": None if r["key"] is None else base64.b64decode(r["key"]),
        "value": None if r["value"] is None else base64.b64decode(r["value"]),
        "headers": [(n, base64.b64decode(v)) for n, v in r["headers"]],
    }
    for r in json.load(sys.stdin)
]
admin = AdminClient({"bootstrap.servers": bootstrap})
run = uuid.uuid4().hex[:8]


def digest(b):
    return "null" if b is None else f"{len(b)}:{hashlib.sha256(b).hexdigest()[:16]}"


def fingerprint(key, value, headers):
    return f"{digest(key)} {digest(value)} " + ",".join(f"{n}={digest(v)}" for n, v in headers or [])


def create(topic, partitions):
    admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])[topic].result(30)


def producer(**more):
    return Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5, **more})


def consumer(group, **more):
    # Of the newer protocol the broker says how long.
    own = {} if "group.protocol" in more else {"session.timeout.ms": 10000, "heartbeat.interval.ms": 200}
    return Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **own,
        **more,
    })


def say(**what):
    print(json.dumps(what), flush=True)


def codecs():
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        topic = f"rdkafka-{codec}-{run}"
        create(topic, 1)
        failed = []
        p = producer(**{"compression.type": codec, "message.max.bytes": 1000000})
        for r in deck:
            p.produce(topic, key=r["key"], value=r["value"], headers=r["headers"],
                      on_delivery=lambda err, _: failed.append(str(err)) if err else None)
        left = p.flush(60)
        c = consumer(f"group-{topic}")
        c.subscribe([topic])
        seen = []
        until = time.time() + 60
        while len(seen) < len(deck) and time.time() < until:
            m = c.poll(1)
            if m is None:
                continue
            if m.error():
                raise KafkaException(m.error())
            seen.append(fingerprint(m.key(), m.value(), m.headers()))
        c.commit(asynchronous=False)
        c.close()
        say(test="codec", codec=codec, failed=failed, left=left, seen=seen)


def groups():
    topic = f"rdkafka-group-{run}"
    create(topic, 4)
    members = [consumer(f"group-{topic}", **{"partition.assignment.strategy": "cooperative-sticky"}) for _ in range(2)]
    for m in members:
        m.subscribe([topic])
    until = time.time() + 60
    while [len(m.assignment()) for m in members] != [2, 2] and time.time() < until:
        for m in members:
            m.poll(0.05)
    owned = [len(m.assignment()) for m in members]
    p = producer()
    for i in range(400):
        p.produce(topic, value=f"v{i}", partition=i % 4)
    p.flush(30)
    seen = []
    while len(seen) < 400 and time.time() < until:
        for m in members:
            r = m.poll(0.02)
            if r is not None and not r.error():
                seen.append(r.value().decode())
                m.commit(r, asynchronous=False) if len(seen) % 100 == 0 else None
    for m in members:
        try:
            m.commit(asynchronous=False)
        except KafkaException as error:  # _NO_OFFSET: nothing since its last commit
            if error.args[0].name() != "_NO_OFFSET":
                raise
    members[0].close()
    while len(members[1].assignment()) != 4 and time.time() < until:
        members[1].poll(0.05)
    after = len(members[1].assignment())
    committed = members[1].committed([TopicPartition(topic, i) for i in range(4)], timeout=10)
    members[1].close()
    say(test="group", owned=owned, seen=sorted(seen), after=after, committed=[t.offset for t in committed])


def poll_until(members, assigned):
    until = time.time() + 90
    while [len(m.assignment()) for m in members] != assigned and time.time() < until:
        for m in members:
            m.poll(0.05)
    return [len(m.assignment()) for m in members]


def consumer_protocol():
    """Members of KIP-848, by a regular expression that the broker resolves; one of them static."""
    topic = f"rdkafka-848-{run}"
    create(topic, 4)
    own = {"group.protocol": "consumer"}
    members = [consumer(f"group-{topic}", **own, **more) for more in ({}, {"group.instance.id": "i1"})]
    for m in members:
        m.subscribe([f"^{topic}.*"])
    owned = poll_until(members, [2, 2])
    p = producer()
    for i in range(200):
        p.produce(topic, value=f"v{i}", partition=i % 4)
    p.flush(30)
    seen = []
    until = time.time() + 60
    while len(seen) < 200 and time.time() < until:
        for m in members:
            r = m.poll(0.02)
            if r is not None and not r.error():
                seen.append(r.value().decode())
    for m in members:
        m.commit(asynchronous=False)
    members[0].close()
    after = poll_until(members[1:], [4])
    committed = members[1].committed([TopicPartition(topic, i) for i in range(4)], timeout=10)
    members[1].close()
    say(test="consumer protocol", owned=owned, seen=sorted(seen), after=after,
        committed=[t.offset for t in committed])


def migration():
    """A group goes over to the consumer protocol and back, member by member."""
    topic = f"rdkafka-migration-{run}"
    create(topic, 4)
    group = f"group-{topic}"
    old = consumer(group, **{"partition.assignment.strategy": "cooperative-sticky"})
    old.subscribe([topic])
    alone = poll_until([old], [4])
    new = consumer(group, **{"group.protocol": "consumer"})
    new.subscribe([topic])
    both = poll_until([old, new], [2, 2])
    new.close()
    back = poll_until([old], [4])
    old.close()
    say(test="migration", alone=alone, both=both, back=back)


def times():
    topic = f"rdkafka-time-{run}"
    create(topic, 1)
    start = int(time.time() * 1000) - 100000
    p = producer()
    for i in range(50):
        p.produce(topic, value=f"v{i}", timestamp=start + 1000 * i)
    p.flush(30)
    c = consumer(f"group-{topic}")
    found = [c.offsets_for_times([TopicPartition(topic, 0, start + ms)], timeout=10)[0].offset
             for ms in (0, 1, 49000)]
    c.close()
    say(test="time", found=found)


codecs()
groups()
consumer_protocol()
migration()
times()
