// Apache Kafka's own transactional producer and read_committed consumer against a broker, for transactions_test.ts.
//
//   kafka java Transactions.java BOOTSTRAP
//
// Prints one line a step, `name: what came of it`. A producer that another has fenced must be told so, and nothing of
// its transaction may be read.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Transactions {
    static String bootstrap;

    static KafkaProducer<String, String> producer(String id, int timeoutMs) {
        return new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap, "transactional.id", id,
            "transaction.timeout.ms", timeoutMs, "linger.ms", 0), new StringSerializer(), new StringSerializer());
    }

    static List<String> read(String topic, int partitions, String isolation) {
        List<String> values = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "isolation.level", isolation,
            "auto.offset.reset", "earliest", "enable.auto.commit", false, "fetch.max.wait.ms", 50), new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (int i = 0; i < partitions; i++) all.add(new TopicPartition(topic, i));
            consumer.assign(all);
            var ends = consumer.endOffsets(all);
            while (all.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                for (var record : consumer.poll(Duration.ofMillis(200))) values.add(record.value());
            }
        }
        Collections.sort(values);
        return values;
    }

    static void send(KafkaProducer<String, String> producer, String topic, int partitions, String prefix) throws Exception {
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < partitions; i++) sent.add(producer.send(new ProducerRecord<>(topic, i, null, prefix + i)));
        for (var one : sent) one.get();
    }

    static String nameOf(Throwable failure) {
        Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
        return cause.getClass().getSimpleName();
    }

    interface Step { void run() throws Exception; }

    static String outcome(Step step) {
        try { step.run(); return "accepted"; } catch (Exception failure) { return nameOf(failure); }
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        String topic = "java-" + System.nanoTime();
        String id = "id-" + System.nanoTime();
        int partitions = 3;
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1), new NewTopic(topic + "-out", 1, (short) 1))).all().get();
            var first = producer(id, 60_000);
            first.initTransactions();
            long begun = System.nanoTime();
            for (int i = 0; i < 20; i++) {
                first.beginTransaction();
                send(first, topic, partitions, (i % 2 == 0 ? "committed" : "aborted") + i + "-");
                if (i % 2 == 0) first.commitTransaction(); else first.abortTransaction();
            }
            System.err.println("20 transactions in " + (System.nanoTime() - begun) / 1_000_000 + " ms");
            System.out.println("committed: " + read(topic, partitions, "read_committed"));
            System.out.println("all: " + read(topic, partitions, "read_uncommitted").size());

            first.beginTransaction();
            send(first, topic, partitions, "zombie-");
            var second = producer(id, 60_000);
            second.initTransactions();
            System.out.println("zombie sends: " + outcome(() -> send(first, topic, partitions, "zombie-again-")));
            System.out.println("zombie commits: " + outcome(first::commitTransaction));
            first.close(Duration.ZERO);
            second.beginTransaction();
            send(second, topic, 1, "second-");
            second.commitTransaction();
            System.out.println("after the zombie: " + read(topic, partitions, "read_committed").stream().filter(v -> !v.startsWith("committed")).toList());

            // Consume, transform, produce: offsets within the transaction.
            try (var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "group.id", topic, "isolation.level", "read_committed",
                "auto.offset.reset", "earliest", "enable.auto.commit", false), new StringDeserializer(), new StringDeserializer())) {
                consumer.subscribe(List.of(topic));
                int copied = 0;
                while (copied < 31) {
                    var records = consumer.poll(Duration.ofMillis(500));
                    if (records.isEmpty()) continue;
                    second.beginTransaction();
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                    for (var record : records) {
                        second.send(new ProducerRecord<>(topic + "-out", record.value()));
                        copied++;
                    }
                    for (var one : records.partitions()) offsets.put(one, new OffsetAndMetadata(consumer.position(one)));
                    second.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                    second.commitTransaction();
                }
                System.out.println("copied: " + copied + ", read: " + read(topic + "-out", 1, "read_committed").size());
            }
            long committed = admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().values().stream().mapToLong(OffsetAndMetadata::offset).sum();
            System.out.println("group has committed: " + (committed > 0));
            second.close();

            var slow = producer(id + "-slow", 1_000);
            slow.initTransactions();
            slow.beginTransaction();
            send(slow, topic, 1, "too-late-");
            var description = admin.describeTransactions(List.of(id + "-slow")).description(id + "-slow").get();
            System.out.println("open: " + description.state() + " " + description.topicPartitions().size());
            String state = "";
            for (int i = 0; i < 100 && !state.equals("CompleteAbort"); i++) {
                Thread.sleep(100);
                state = admin.describeTransactions(List.of(id + "-slow")).description(id + "-slow").get().state().toString();
            }
            System.out.println("timed out: " + state);
            System.out.println("too late: " + outcome(slow::commitTransaction));
            slow.close(Duration.ZERO);
            System.out.println("listed: " + admin.listTransactions().all().get().stream().filter(one -> one.transactionalId().startsWith(id))
                .map(one -> one.transactionalId().endsWith("slow") ? "slow " + one.state() : "id " + one.state()).sorted().toList());
            System.out.println("read: " + read(topic, partitions, "read_committed").size());
        }
    }
}
