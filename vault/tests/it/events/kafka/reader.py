"""A consumer that shares no code with the vault: librdkafka reads, the CloudEvents SDK parses.

Usage: reader.py SETTINGS TOPIC PARTITIONS, where SETTINGS are librdkafka's, as JSON. Makes the topic, and prints a line of JSON
for each record that comes. Where a key belongs is asked of librdkafka's own murmur2, by a record of that key in another topic.
"""

import json
import sys
import time

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

settings, topic, partitions = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
settings |= {"log_level": 0, "socket.timeout.ms": 10_000}
GIVE_UP = time.monotonic() + 120
PROBE = topic + "-murmur2"


admin = AdminClient(settings)


def make(name):
    while time.monotonic() < GIVE_UP:
        try:
            admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
            return
        except KafkaException as error:
            if error.args[0].name() == "TOPIC_ALREADY_EXISTS":
                return
            time.sleep(0.2)
    sys.exit("no topic can be made")


for name in (topic, PROBE):
    make(name)
print(json.dumps({"ready": True}), flush=True)
producer = Producer(settings | {"partitioner": "murmur2"})
belongs = {}


def place(key):
    if key not in belongs:
        producer.produce(PROBE, key=key, value=b"", on_delivery=lambda error, m: error or belongs.update({key: m.partition()}))
        producer.flush(60)
    return belongs.get(key)


consumer = Consumer(settings | {"group.id": "reader", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
while True:
    message = consumer.poll(1)
    if message is None or message.error():
        continue
    event = from_kafka_event(KafkaMessage(dict(message.headers()), message.key(), message.value()))
    told = {
        "partition": message.partition(),
        "offset": message.offset(),
        "key": message.key().decode(),
        "headers": [[name, value.decode()] for name, value in message.headers()],
        "value": message.value().decode(),
        "belongs": place(message.key()) if "--place" in sys.argv else None,
        "id": event.get_id(),
        "source": event.get_source(),
        "type": event.get_type(),
        "subject": event.get_subject(),
        "sequence": event.get_extension("sequence"),
        "data": event.get_data(),
    }
    print(json.dumps(told), flush=True)
