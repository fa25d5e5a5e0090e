"""librdkafka's transactions against a broker, for transactions_test.ts: one JSON line for each step."""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap = sys.argv[1]
unique = str(time.time_ns())
topic, output = "rdkafka-transactions-" + unique, "rdkafka-copied-" + unique
admin = AdminClient({"bootstrap.servers": bootstrap})
for made in admin.create_topics([NewTopic(topic, 2, 1), NewTopic(output, 1, 1)]).values():
    made.result()


def tell(step, **result):
    print(json.dumps({"step": step, **result}))


def producer(transactional_id):
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "linger.ms": 0})
    made.init_transactions(30)
    return made


def read(name, partitions):
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader-" + unique, "isolation.level": "read_committed",
         "auto.offset.reset": "earliest", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(name, index, 0) for index in range(partitions)])
    values, ended = [], 0
    while ended < partitions:
        message = consumer.poll(30)
        if message.error():
            ended += 1
        else:
            values.append(message.value().decode())
    consumer.close()
    return sorted(values)


first = producer("rdkafka-" + unique)
for index in range(10):
    first.begin_transaction()
    for partition in range(2):
        first.produce(topic, f"{index}-{partition}", partition=partition)
    if index % 2 == 0:
        first.commit_transaction(30)
    else:
        first.flush(30)
        first.abort_transaction(30)
tell("committed", values=read(topic, 2))

first.begin_transaction()
first.produce(topic, "zombie", partition=0)
first.flush(30)
second = producer("rdkafka-" + unique)
try:
    first.produce(topic, "zombie again", partition=1)
    first.flush(30)
    first.commit_transaction(30)
    tell("zombie", fenced=False)
except KafkaException as failure:
    tell("zombie", fenced=True, fatal=failure.args[0].fatal(), name=failure.args[0].name())

consumer = Consumer(
    {"bootstrap.servers": bootstrap, "group.id": "copier-" + unique, "isolation.level": "read_committed",
     "auto.offset.reset": "earliest", "enable.auto.commit": False}
)
consumer.subscribe([topic])
copied = 0
while copied < 10:
    messages = [message for message in consumer.consume(10, 1) if not message.error()]
    if not messages:
        continue
    second.begin_transaction()
    for message in messages:
        second.produce(output, message.value(), partition=0)
    second.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30)
    second.commit_transaction(30)
    copied += len(messages)
committed = consumer.committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], 30)
consumer.close()
tell("copied", values=read(output, 1), committed=[one.offset > 0 for one in committed])
