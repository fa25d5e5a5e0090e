// Load on a cluster that is broken again and again, with Apache Kafka's own clients, for cluster_test.ts.
//
//   kafka java ClusterLoad.java BOOTSTRAP PARTITIONS GROUP TOPIC RECORDS_A_SECOND REQUEST_TIMEOUT_MS
//
// An idempotent producer sends numbers, to each partition its own row of them. A reader without a group follows the
// ends. Two members of a group read and commit, and ask for the group's commits now and then; the second one leaves
// and comes again, so that the group is rebalanced under load.
//
// A line on standard input ends the load: the producer is flushed, and the readers go on to the ends. Prints `ready`
// once everything has begun to work, and at the end what was seen, as one JSON object, as crash_client.py does.

import java.time.Duration;
import java.time.Instant;
import java.util.*;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class ClusterLoad {
    static final double SILENCE_S = 0.5;
    static final long LIFE_MS = 7_000;
    static final long ASK_MS = 500;
    static final long END_MS = 90_000;

    static String bootstrap, group, topic, requestTimeoutMs;
    static int partitions, recordsASecond;
    static volatile boolean isStopping, isProduced, isOver;

    /** Rows of the report, each as it is printed: whoever adds one holds the lock. */
    static final Map<String, List<String>> report = new LinkedHashMap<>();
    static AtomicIntegerArray sent;
    /** The highest number that each kind of reader has read of each partition. */
    static AtomicIntegerArray seenUpTo, groupUpTo;

    static void note(String rows, Object... values) {
        StringJoiner row = new StringJoiner(",", "[", "]");
        for (Object value : values) row.add(value instanceof Number ? value.toString() : quoted(value.toString()));
        synchronized (report) {
            report.get(rows).add(row.toString());
        }
    }

    static String quoted(String text) {
        return '"' + text.replaceAll("[^ !#-\\[\\]-~]", "?") + '"';
    }

    static double nowS() {
        return System.currentTimeMillis() / 1e3;
    }

    static void failed(String who, Exception failure) {
        note("exceptions", who, nowS(), failure.getClass().getSimpleName(), String.valueOf(failure.getMessage()));
    }

    static Map<String, Object> common(Object... more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap,
            "request.timeout.ms", requestTimeoutMs));
        for (int i = 0; i < more.length; i += 2) config.put((String) more[i], more[i + 1]);
        return config;
    }

    // ── producer ────────────────────────────────────────────────────────────────────────────────────

    /** Notes when nothing of a partition was acknowledged for long. Called by the producer's one thread. */
    static class Silences {
        final double[] heardS = new double[partitions];

        void heard(int partition) {
            double now = nowS(), since = heardS[partition];
            heardS[partition] = now;
            if (since > 0 && now - since >= SILENCE_S) note("silences", topic, partition, since, now - since);
        }
    }

    static void produce() throws Exception {
        var silences = new Silences();
        String filler = ".".repeat(300);
        try (var producer = new KafkaProducer<>(common("acks", "all", "enable.idempotence", "true"),
                new StringSerializer(), new StringSerializer())) {
            long start = System.nanoTime();
            for (long round = 0; !isStopping; round++) {
                for (int p = 0; p < partitions; p++) {
                    int partition = p, number = sent.getAndIncrement(p);
                    String value = number + " " + filler.substring(0, number * 7 % 300);
                    producer.send(new ProducerRecord<>(topic, p, String.valueOf(number % 50), value), (at, failure) -> {
                        silences.heard(partition);
                        if (failure != null) {
                            note("failed", partition, number, failure.toString());
                            return;
                        }
                        note("acknowledged", partition, at.hasOffset() ? at.offset() : -1, number);
                    });
                }
                long restMs = (round + 1) * 1000 / recordsASecond - (System.nanoTime() - start) / 1_000_000;
                if (restMs > 0) Thread.sleep(restMs);
            }
            producer.flush();
        } catch (Exception failure) {
            failed("producer", failure);
        }
        isProduced = true;
    }

    // ── readers ─────────────────────────────────────────────────────────────────────────────────────

    static boolean isDone(AtomicIntegerArray upTo) {
        if (!isProduced) return isOver;
        for (int p = 0; p < partitions; p++) if (upTo.get(p) < sent.get(p) - 1) return isOver;
        return true;
    }

    static int numberOf(ConsumerRecord<String, String> record) {
        return Integer.parseInt(record.value().substring(0, record.value().indexOf(' ')));
    }

    static KafkaConsumer<String, String> consumer(Object... more) {
        return new KafkaConsumer<>(common(more), new StringDeserializer(), new StringDeserializer());
    }

    static List<TopicPartition> all() {
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < partitions; p++) all.add(new TopicPartition(topic, p));
        return all;
    }

    static void follow() {
        try (var reader = consumer("enable.auto.commit", "false", "auto.offset.reset", "none", "fetch.max.wait.ms", "100")) {
            reader.assign(all());
            for (var partition : all()) reader.seek(partition, 0);
            while (!isDone(seenUpTo)) {
                for (var record : reader.poll(Duration.ofMillis(100))) {
                    int number = numberOf(record);
                    note("seen", record.partition(), record.offset(), number);
                    seenUpTo.accumulateAndGet(record.partition(), number, Math::max);
                }
            }
        } catch (Exception failure) {
            failed("reader", failure);
        }
    }

    /** One life of a member: from its joining to its leaving. */
    static class Member implements ConsumerRebalanceListener {
        static final AtomicInteger runs = new AtomicInteger(), asks = new AtomicInteger();
        final String name;
        final Map<Integer, String> run = new HashMap<>();
        /** What is to be committed: with the epoch of the last record, by which a leader of the past is known. */
        final Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
        long askedMs = 0;

        Member(String name) {
            this.name = name;
        }

        @Override public void onPartitionsAssigned(Collection<TopicPartition> given) {
            for (var partition : given) run.put(partition.partition(), name + " since " + Instant.now() + " (" + runs.incrementAndGet() + ")");
        }

        @Override public void onPartitionsRevoked(Collection<TopicPartition> taken) {
            done.keySet().removeAll(taken);
        }

        void live(long untilMs) {
            try (var member = consumer("group.id", group, "enable.auto.commit", "false", "auto.offset.reset", "earliest",
                    "session.timeout.ms", "10000", "fetch.max.wait.ms", "100")) {
                member.subscribe(List.of(topic), this);
                while (System.currentTimeMillis() < untilMs && !isDone(groupUpTo)) {
                    for (var record : member.poll(Duration.ofMillis(100))) {
                        int number = numberOf(record);
                        note("group", record.partition(), record.offset(), number, run.get(record.partition()));
                        groupUpTo.accumulateAndGet(record.partition(), number, Math::max);
                        done.put(new TopicPartition(topic, record.partition()),
                            new OffsetAndMetadata(record.offset() + 1, record.leaderEpoch(), ""));
                    }
                    commit(member);
                }
            } catch (Exception failure) {
                failed(name, failure);
            }
        }

        void commit(KafkaConsumer<String, String> member) {
            try {
                member.commitSync(done);
                done.forEach((partition, it) -> note("commits", "commit", partition.partition(), it.offset()));
            } catch (CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException moved) {
                // So a member learns that the group has been given out anew; what it read is read again.
            }
            if (System.currentTimeMillis() - askedMs < ASK_MS) return;
            askedMs = System.currentTimeMillis();
            String ask = name + " at " + Instant.now() + " (" + asks.incrementAndGet() + ")";
            note("commits", "ask", ask);
            member.committed(new HashSet<>(all())).forEach((partition, it) ->
                note("commits", "answer", ask, partition.partition(), it == null ? -1 : it.offset()));
        }
    }

    static Thread started(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static boolean isWorking() {
        synchronized (report) {
            return List.of("acknowledged", "seen", "commits").stream().noneMatch(it -> report.get(it).isEmpty());
        }
    }

    static String rows(String name) {
        return "[" + String.join(",", report.get(name)) + "]";
    }

    static void print() {
        StringJoiner counts = new StringJoiner(",", "[", "]"), json = new StringJoiner(",", "{", "}");
        for (int p = 0; p < partitions; p++) counts.add(String.valueOf(sent.get(p)));
        json.add("\"sent\":{" + quoted(topic) + ":" + counts + "}");
        for (String name : List.of("acknowledged", "seen")) json.add(quoted(name) + ":{" + quoted(topic) + ":" + rows(name) + "}");
        for (String name : List.of("failed", "exceptions", "group", "commits", "silences")) json.add(quoted(name) + ":" + rows(name));
        json.add("\"fatal\":[]");
        System.out.println(json);
        System.out.flush();
    }

    public static void main(String[] words) throws Exception {
        bootstrap = words[0];
        partitions = Integer.parseInt(words[1]);
        group = words[2];
        topic = words[3];
        recordsASecond = Integer.parseInt(words[4]);
        requestTimeoutMs = words[5];
        sent = new AtomicIntegerArray(partitions);
        seenUpTo = new AtomicIntegerArray(partitions);
        groupUpTo = new AtomicIntegerArray(partitions);
        for (int p = 0; p < partitions; p++) { seenUpTo.set(p, -1); groupUpTo.set(p, -1); }
        for (String name : List.of("acknowledged", "seen", "failed", "exceptions", "group", "commits", "silences")) {
            report.put(name, new ArrayList<>());
        }
        Thread producer = started("producer", () -> {
            try { produce(); } catch (Exception failure) { failed("producer", failure); }
        });
        List<Thread> readers = List.of(
            started("reader", ClusterLoad::follow),
            started("steady member", () -> {
                while (!isDone(groupUpTo)) new Member("steady").live(Long.MAX_VALUE);
            }),
            started("other member", () -> {
                while (!isDone(groupUpTo)) new Member("other").live(System.currentTimeMillis() + LIFE_MS);
            }));
        while (!isWorking()) Thread.sleep(20);
        System.out.println("ready");
        System.out.flush();
        System.in.read();
        isStopping = true;
        producer.join(END_MS);
        long untilMs = System.currentTimeMillis() + END_MS;
        for (Thread reader : readers) reader.join(Math.max(1, untilMs - System.currentTimeMillis()));
        isOver = true;
        for (Thread reader : readers) reader.join(5_000);
        print();
        System.exit(0);
    }
}
