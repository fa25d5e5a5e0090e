// Transactional producers against a cluster whose nodes die meanwhile, for cluster_transactions_test.ts.
//
//   kafka java TransactionLoad.java BOOTSTRAP PRODUCERS SECONDS
//
// Each transaction writes its number into every partition. A producer that fails is closed and begins anew under its
// id, as an application would. In the end a reader of committed records must find each committed transaction once in
// every partition, each aborted one nowhere, and one of which the producer heard nothing everywhere or nowhere.
// Prints one line: what was found, or what is wrong.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

public class TransactionLoad {
    static final int PARTITIONS = 4;
    static String bootstrap;
    static final String topic = "transactions-" + System.nanoTime();
    static final Map<String, String> outcomes = new ConcurrentHashMap<>();
    static final Map<String, Integer> failures = new ConcurrentHashMap<>();

    static KafkaProducer<String, String> producer(String id) {
        return new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap, "transactional.id", id, "transaction.timeout.ms", 10_000,
            "delivery.timeout.ms", 9_000, "request.timeout.ms", 3_000, "max.block.ms", 10_000, "linger.ms", 0, "reconnect.backoff.max.ms", 200,
            "retry.backoff.ms", 20, "retry.backoff.max.ms", 100),
            new StringSerializer(), new StringSerializer());
    }

    static void work(String id, long untilNs) {
        KafkaProducer<String, String> producer = null;
        Random random = new Random(id.hashCode());
        for (int i = 0; System.nanoTime() < untilNs; i++) {
            String name = id + "-" + i;
            try {
                if (producer == null) {
                    producer = producer(id);
                    producer.initTransactions();
                }
                producer.beginTransaction();
                for (int partition = 0; partition < PARTITIONS; partition++) producer.send(new ProducerRecord<>(topic, partition, null, name));
                if (random.nextInt(4) == 0) {
                    producer.flush();
                    outcomes.put(name, "aborted");
                    producer.abortTransaction();
                } else {
                    outcomes.put(name, "unknown");
                    producer.commitTransaction();
                    outcomes.put(name, "committed");
                }
            } catch (KafkaException failure) {
                failures.merge(failure.getClass().getSimpleName() + ": " + failure.getMessage() + " of " + failure.getCause(), 1, Integer::sum);
                if (producer != null) producer.close(Duration.ZERO);
                producer = null;
            }
        }
        if (producer != null) producer.close(Duration.ofSeconds(5));
    }

    static List<Map<String, Integer>> read() {
        List<Map<String, Integer>> counts = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed",
            "auto.offset.reset", "earliest", "enable.auto.commit", false), new StringDeserializer(), new StringDeserializer())) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                var one = new TopicPartition(topic, partition);
                consumer.assign(List.of(one));
                consumer.seekToBeginning(List.of(one));
                long end = consumer.endOffsets(List.of(one)).get(one);
                Map<String, Integer> count = new HashMap<>();
                while (consumer.position(one) < end) {
                    for (var record : consumer.poll(Duration.ofMillis(500))) count.merge(record.value(), 1, Integer::sum);
                }
                counts.add(count);
            }
        }
        return counts;
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        int producers = Integer.parseInt(arguments[1]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 3).configs(Map.of("min.insync.replicas", "2")))).all().get();
        }
        System.out.println("ready");
        long untilNs = System.nanoTime() + Long.parseLong(arguments[2]) * 1_000_000_000L;
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < producers; i++) {
            String id = "load-" + i;
            Thread thread = new Thread(() -> work(id, untilNs));
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) thread.join();
        // What was left open is aborted by its coordinator after ten seconds.
        Thread.sleep(12_000);
        var counts = read();
        List<String> wrong = new ArrayList<>();
        int committed = 0, aborted = 0, unknown = 0;
        Set<String> names = new TreeSet<>(outcomes.keySet());
        for (var count : counts) names.addAll(count.keySet());
        for (String name : names) {
            var found = counts.stream().map(count -> count.getOrDefault(name, 0)).distinct().toList();
            String outcome = outcomes.getOrDefault(name, "failed");
            if (found.size() > 1) { wrong.add(name + " is torn: " + counts.stream().map(count -> count.getOrDefault(name, 0)).toList() + " " + outcome); continue; }
            int times = found.get(0);
            if (outcome.equals("committed")) committed++; else if (outcome.equals("unknown")) unknown++; else aborted++;
            boolean right = outcome.equals("committed") ? times == 1 : outcome.equals("unknown") ? times <= 1 : times == 0;
            if (!right) wrong.add(name + " is there " + times + " times, " + outcome);
        }
        System.err.println("failures " + failures + ", aborted " + aborted + ", unknown " + unknown);
        System.out.println(wrong.isEmpty() ? "right: " + committed + " committed" : "wrong: " + wrong.subList(0, Math.min(5, wrong.size())));
    }
}
