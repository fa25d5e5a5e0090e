// Copies a topic within transactions, as one of several members of a group, for exactly_once_test.ts.
//
//   kafka java ExactlyOnceCopy.java BOOTSTRAP TOPIC GROUP_PROTOCOL TRANSACTIONAL_ID
//
// Prints a line for each transaction that was committed. It runs until it is killed, or fenced.

import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

public class ExactlyOnceCopy {
    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0], topic = arguments[1], protocol = arguments[2], id = arguments[3];
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", topic, "group.protocol", protocol,
            "isolation.level", "read_committed", "auto.offset.reset", "earliest", "enable.auto.commit", false, "max.poll.records", 20));
        if (protocol.equals("classic")) settings.putAll(Map.of("session.timeout.ms", 6000, "heartbeat.interval.ms", 500));
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        var producer = new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap, "transactional.id", id,
            "transaction.timeout.ms", 5000, "linger.ms", 0), new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        consumer.subscribe(List.of(topic));
        for (int count = 0;;) {
            var records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) continue;
            try {
                producer.beginTransaction();
                for (var record : records) producer.send(new ProducerRecord<>(topic + "-copy", record.partition(), null, record.value()));
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (var one : records.partitions()) {
                    var of = records.records(one);
                    offsets.put(one, new OffsetAndMetadata(of.get(of.size() - 1).offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                producer.commitTransaction();
                System.out.println("committed " + ++count);
            } catch (ProducerFencedException | OutOfOrderSequenceException failure) {
                throw failure;
            } catch (KafkaException failure) {
                System.out.println("aborted: " + failure);
                producer.abortTransaction();
                // What was polled is polled again, by whoever has the partitions by then.
                var assigned = consumer.assignment();
                var committed = consumer.committed(assigned);
                for (var one : assigned) {
                    if (committed.get(one) == null) consumer.seekToBeginning(List.of(one));
                    else consumer.seek(one, committed.get(one));
                }
            }
        }
    }
}
