// Fills and reads a broker with Apache Kafka's own clients, for kafka_directory_test.ts.
//
//   kafka java KafkaDirectory.java
//
// Takes one command a line from standard input and answers each with one line, `ok` or `failed: why`:
//
//   fill BOOTSTRAP             makes topics and writes of every kind that needs no transactions
//   update BOOTSTRAP           more values for the keys of the topic `compacted`
//   compact BOOTSTRAP TOPIC    lets the cleaner at a topic, waits until it has been over it, then holds it off
//   transact BOOTSTRAP         transactions that are committed, aborted and left open, offsets in them too
//   group BOOTSTRAP            a group of the consumer protocol reads and commits
//   goon BOOTSTRAP             the idempotent producer of `fill` goes on with its next sequence numbers
//   settle BOOTSTRAP           commits the transaction that `transact` left open
//   read BOOTSTRAP FILE        what the broker serves, as lines: topics, offsets, records, groups, producers
//   dump FILE FLAG... PATHS    what DumpLogSegments says of files, the paths joined by commas
//
// Record timestamps lie apart from each other where a topic is to roll: by `segment.ms` a segment ends there, so
// that small logs have many segments.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class KafkaDirectory {
    /** Records this far apart lie in different segments. */
    static final long STEP = 1_200_000L;
    /** Long enough ago that all records lie in the past, and not so long that producers expire. */
    static final long BASE = System.currentTimeMillis() / STEP * STEP - 36 * STEP;
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final int KEYS = 20;
    static final int ROUNDS = 6;
    static final String LONGEST = String.valueOf(Long.MAX_VALUE);
    static KafkaProducer<byte[], byte[]> steady;
    static int steadyCount = 0;
    /** Left open: closing it would end its transaction. */
    static final List<KafkaProducer<byte[], byte[]>> open = new ArrayList<>();

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, Object... more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "acks", "all",
            "linger.ms", "20", "reconnect.backoff.max.ms", "100", "retry.backoff.max.ms", "100"));
        for (int i = 0; i < more.length; i += 2) config.put((String) more[i], more[i + 1]);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, Object... more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", "false",
            "auto.offset.reset", "none", "fetch.max.wait.ms", "5"));
        for (int i = 0; i < more.length; i += 2) config.put((String) more[i], more[i + 1]);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static NewTopic topic(String name, int partitions, String... configs) {
        Map<String, String> all = new HashMap<>(Map.of("segment.ms", String.valueOf(STEP / 2), "index.interval.bytes", "256"));
        for (int i = 0; i < configs.length; i += 2) all.put(configs[i], configs[i + 1]);
        return new NewTopic(name, partitions, (short) 1).configs(all);
    }

    static byte[] value(Random random, int size, boolean noise) {
        byte[] bytes = new byte[size];
        if (noise) random.nextBytes(bytes); else Arrays.fill(bytes, (byte) ('a' + size % 26));
        return bytes;
    }

    static void await(List<Future<RecordMetadata>> sent) throws Exception {
        for (Future<RecordMetadata> future : sent) future.get();
        sent.clear();
    }

    static void fill(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(topic("codecs", 2), topic("append-time", 1, "message.timestamp.type", "LogAppendTime"),
                topic("recompressed", 1, "compression.type", "zstd"), topic("trimmed", 1), topic("trimmed-whole", 1),
                topic("empty", 3), topic("steady", 3), topic("under_score.and-dash", 1), topic("grown", 1), topic("gone", 2),
                topic("compacted", 1, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01",
                    "delete.retention.ms", "86400000"))).all().get();
            // Answered once each partition has its leader.
            Map<TopicPartition, OffsetSpec> all = new HashMap<>();
            for (String name : new String[] {"codecs", "append-time", "recompressed", "trimmed", "steady", "compacted"}) {
                all.put(new TopicPartition(name, 0), OffsetSpec.latest());
            }
            admin.listOffsets(all).all().get();
        }
        fillCodecs(bootstrap);
        fillOthers(bootstrap);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            trim(admin, "trimmed", 120);
            trim(admin, "trimmed-whole", -1);
            admin.createPartitions(Map.of("grown", NewPartitions.increaseTo(3))).all().get();
            admin.deleteTopics(List.of("gone")).all().get();
            commit(bootstrap, admin);
        }
    }

    static void fillCodecs(String bootstrap) throws Exception {
        Random random = new Random(7);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int c = 0; c < CODECS.length; c++) {
            try (var producer = producer(bootstrap, "compression.type", CODECS[c], "batch.size", 60_000)) {
                for (int i = 0; i < 120; i++) {
                    int size = i % 40 == 7 ? 200_000 : (i * i) % 900;
                    long at = BASE + c * STEP + i * 1000 - (i % 9 == 0 ? 500_000 : 0);
                    byte[] key = i % 3 == 0 ? null : i % 7 == 0 ? new byte[0] : utf8(CODECS[c] + "-" + i);
                    byte[] value = i % 11 == 0 ? null : value(random, size, i % 2 == 0);
                    List<Header> headers = i % 4 != 0 ? List.of() : List.of(new RecordHeader("größe", utf8("ü" + i)),
                        new RecordHeader("", new byte[0]), new RecordHeader("none", (byte[]) null));
                    sent.add(producer.send(new ProducerRecord<>("codecs", i % 2, at, key, value, headers)));
                    if (i % 10 == 0) sent.add(producer.send(new ProducerRecord<>("recompressed", 0, at, key, utf8("r" + i))));
                    if (i % 10 == 5) sent.add(producer.send(new ProducerRecord<>("append-time", 0, at, key, utf8("t" + i))));
                }
                await(sent);
            }
        }
    }

    static void fillOthers(String bootstrap) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = producer(bootstrap, "linger.ms", "5")) {
            for (int i = 0; i < 250; i++) {
                for (String name : new String[] {"trimmed", "trimmed-whole", "under_score.and-dash", "grown", "gone"}) {
                    sent.add(producer.send(new ProducerRecord<>(name, 0, BASE + i / 50 * STEP + i, null, utf8(name + i))));
                }
            }
            await(sent);
            for (int round = 0; round < ROUNDS; round++) {
                for (int k = 0; k < KEYS; k++) {
                    byte[] value = k % 5 == 1 && round == ROUNDS - 2 ? null : utf8("round " + round + " key " + k);
                    if (k % 5 == 1 && round == ROUNDS - 1) continue;
                    sent.add(producer.send(new ProducerRecord<>("compacted", 0, BASE + round * STEP + k, utf8("k" + k), value)));
                    if (k % 7 == 0) await(sent);
                }
                await(sent);
            }
        }
        steady = producer(bootstrap, "compression.type", "lz4", "delivery.timeout.ms", 60_000, "request.timeout.ms", 10_000);
        goOn();
    }

    static void goOn() throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < 300; i++, steadyCount++) {
            long at = BASE + steadyCount / 100 * STEP + i;
            sent.add(steady.send(new ProducerRecord<>("steady", i % 3, at, utf8("s"), utf8("steady " + steadyCount))));
            if (i % 20 == 0) await(sent);
        }
        await(sent);
    }

    static void trim(Admin admin, String name, long before) throws Exception {
        admin.deleteRecords(Map.of(new TopicPartition(name, 0), RecordsToDelete.beforeOffset(before))).all().get();
    }

    static void commit(String bootstrap, Admin admin) throws Exception {
        for (String group : new String[] {"group-plain", "group-deleted"}) {
            try (var member = consumer(bootstrap, "group.id", group, "auto.offset.reset", "earliest")) {
                member.subscribe(List.of("codecs", "steady"));
                for (int count = 0; count < 100;) count += member.poll(Duration.ofSeconds(1)).count();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (TopicPartition it : member.assignment()) {
                    offsets.put(it, new OffsetAndMetadata(member.position(it), Optional.of(0), "größe " + it));
                }
                member.commitSync(offsets);
            }
        }
        for (int i = 0; i < 50; i++) {
            admin.alterConsumerGroupOffsets("group-admin", Map.of(new TopicPartition("codecs", 0), new OffsetAndMetadata(i),
                new TopicPartition("trimmed", 0), new OffsetAndMetadata(120 + i))).all().get();
        }
        admin.deleteConsumerGroupOffsets("group-admin", Set.of(new TopicPartition("trimmed", 0))).all().get();
        admin.deleteConsumerGroups(List.of("group-deleted")).all().get();
    }

    static void update(String bootstrap) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = producer(bootstrap)) {
            for (int round = ROUNDS; round < ROUNDS + 3; round++) {
                for (int k = 0; k < KEYS; k++) {
                    byte[] value = utf8("round " + round + " key " + k);
                    sent.add(producer.send(new ProducerRecord<>("compacted", 0, BASE + round * STEP + k, utf8("k" + k), value)));
                }
                await(sent);
            }
        }
    }

    static void setCompactionLag(Admin admin, String topic, String value) throws Exception {
        var name = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var lag = new AlterConfigOp(new ConfigEntry("min.compaction.lag.ms", value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(name, List.of(lag))).all().get();
    }

    static void compact(String bootstrap, String topic) throws Exception {
        try (var reader = consumer(bootstrap); Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            setCompactionLag(admin, topic, "0");
            TopicPartition partition = new TopicPartition(topic, 0);
            reader.assign(List.of(partition));
            long deadline = System.currentTimeMillis() + 60_000;
            // The active segment, at most one round, is never compacted: what is older is left once a key.
            for (int count = Integer.MAX_VALUE; count > 2 * KEYS;) {
                if (System.currentTimeMillis() > deadline) throw new IllegalStateException(count + " records are left");
                Thread.sleep(50);
                count = readAll(reader, partition, reader.endOffsets(List.of(partition)).get(partition)).size();
            }
            setCompactionLag(admin, topic, LONGEST);
        }
    }

    static void transact(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            // Markers carry the time of the broker, so here time itself ends segments.
            admin.createTopics(List.of(topic("transactions", 2, "segment.ms", "50"),
                topic("compacted-transactions", 1, "segment.ms", "50", "cleanup.policy", "compact",
                    "min.cleanable.dirty.ratio", "0.01", "min.compaction.lag.ms", LONGEST))).all().get();
        }
        var member = consumer(bootstrap, "group.id", "group-transactions");
        ConsumerGroupMetadata group = member.groupMetadata();
        member.close();
        try (var plain = producer(bootstrap)) {
            for (int i = 0; i < 8; i++) {
                try (var producer = producer(bootstrap, "transactional.id", "t" + i % 3, "compression.type", CODECS[i % 5])) {
                    producer.initTransactions();
                    for (int step = 0; step < 2; step++) {
                        producer.beginTransaction();
                        send(producer, "transactional " + i + " " + step);
                        producer.flush();
                        send(plain, "plain " + i + " " + step);
                        plain.flush();
                        send(producer, "more " + i + " " + step);
                        for (int k = 0; k < KEYS; k++) {
                            producer.send(new ProducerRecord<>("compacted-transactions", utf8("k" + k), utf8(i + " " + step + " of " + k)));
                        }
                        var offsets = Map.of(new TopicPartition("codecs", 1), new OffsetAndMetadata(10 * i + step, "in " + i));
                        producer.sendOffsetsToTransaction(offsets, group);
                        if ((i + step) % 2 == 0) producer.commitTransaction(); else producer.abortTransaction();
                    }
                }
            }
            var left = producer(bootstrap, "transactional.id", "left-open", "transaction.timeout.ms", 900_000);
            open.add(left);
            left.initTransactions();
            left.beginTransaction();
            left.send(new ProducerRecord<>("transactions", 0, null, utf8("left open")));
            left.sendOffsetsToTransaction(Map.of(new TopicPartition("codecs", 0), new OffsetAndMetadata(77, "never")),
                group);
            left.flush();
            send(plain, "after the open one");
            plain.flush();
        }
    }

    /** A group of the consumer protocol (KIP-848), whose records only a broker with that protocol understands. */
    static void consumerGroup(String bootstrap) {
        try (var member = consumer(bootstrap, "group.id", "group-consumer", "group.protocol", "consumer",
                "auto.offset.reset", "earliest")) {
            member.subscribe(List.of("codecs"));
            for (int count = 0; count < 10;) count += member.poll(Duration.ofSeconds(1)).count();
            member.commitSync();
        }
    }

    static void settle() {
        open.forEach(KafkaProducer::commitTransaction);
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String text) {
        for (int n = 0; n < 10; n++) producer.send(new ProducerRecord<>("transactions", n % 2, null, utf8(text + " " + n)));
    }

    static List<ConsumerRecord<byte[], byte[]>> readAll(KafkaConsumer<byte[], byte[]> reader, TopicPartition partition, long end) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        reader.seekToBeginning(List.of(partition));
        while (reader.position(partition) < end) reader.poll(Duration.ofMillis(200)).forEach(records::add);
        return records;
    }

    static void dump(String file, String[] words) throws Exception {
        PrintStream out = System.out, err = System.err;
        try (var stream = new PrintStream(file, StandardCharsets.UTF_8)) {
            System.setOut(stream);
            System.setErr(stream);
            org.apache.kafka.tools.DumpLogSegments.main(words);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
    }

    static String digest(byte[] bytes) throws Exception {
        if (bytes == null) return "null";
        String text = new String(bytes, StandardCharsets.UTF_8);
        if (text.length() <= 40 && text.chars().allMatch(it -> it >= ' ' && it <= 'ü')) return bytes.length + ":" + text;
        return bytes.length + ":" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes), 0, 8);
    }

    static void read(String bootstrap, String file) throws Exception {
        List<String> lines = new ArrayList<>();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            Set<String> names = new TreeSet<>(admin.listTopics().names().get());
            List<TopicPartition> partitions = new ArrayList<>();
            for (TopicDescription it : new TreeMap<>(admin.describeTopics(names).allTopicNames().get()).values()) {
                lines.add("topic " + it.name() + " " + it.topicId() + " " + it.partitions().size());
                it.partitions().forEach(p -> partitions.add(new TopicPartition(it.name(), p.partition())));
            }
            describeConfigs(admin, names, lines);
            for (String isolation : new String[] {"read_uncommitted", "read_committed"}) {
                try (var reader = consumer(bootstrap, "isolation.level", isolation)) {
                    for (TopicPartition partition : partitions) describe(reader, partition, isolation, lines);
                }
            }
            describeGroups(admin, lines);
            describeProducers(admin, partitions, lines);
        }
        Files.write(Path.of(file), lines);
    }

    static void describeConfigs(Admin admin, Set<String> names, List<String> lines) throws Exception {
        List<ConfigResource> resources = names.stream().map(it -> new ConfigResource(ConfigResource.Type.TOPIC, it)).toList();
        var configs = admin.describeConfigs(resources).all().get();
        for (ConfigResource resource : resources) {
            for (ConfigEntry entry : configs.get(resource).entries()) {
                if (entry.source() != ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG) continue;
                lines.add("config " + resource.name() + " " + entry.name() + "=" + entry.value());
            }
        }
    }

    static void describe(KafkaConsumer<byte[], byte[]> reader, TopicPartition partition, String isolation, List<String> lines) throws Exception {
        reader.assign(List.of(partition));
        long start = reader.beginningOffsets(List.of(partition)).get(partition);
        long end = reader.endOffsets(List.of(partition)).get(partition);
        lines.add("offsets " + isolation + " " + partition + " [" + start + ", " + end + ")");
        boolean isCommitted = isolation.equals("read_committed");
        List<ConsumerRecord<byte[], byte[]>> records = readAll(reader, partition, end);
        for (var record : records) {
            String at = partition + " " + record.offset();
            if (isCommitted) { lines.add("visible " + at); continue; }
            StringBuilder headers = new StringBuilder();
            for (Header header : record.headers()) headers.append(' ').append(header.key()).append('=').append(digest(header.value()));
            lines.add("record " + at + " " + record.timestampType() + " " + record.timestamp() + " epoch "
                + record.leaderEpoch().map(String::valueOf).orElse("none") + " " + digest(record.key()) + " "
                + digest(record.value()) + headers);
        }
        if (isCommitted) return;
        for (int i = 0; i < records.size(); i += Math.max(1, records.size() / 8)) {
            for (long delta : new long[] {-1, 0, 1}) {
                long time = records.get(i).timestamp() + delta;
                lines.add("time " + partition + " " + time + " " + reader.offsetsForTimes(Map.of(partition, time)).get(partition));
            }
        }
    }

    static void describeGroups(Admin admin, List<String> lines) throws Exception {
        Set<String> groups = new TreeSet<>();
        admin.listGroups().all().get().forEach(it -> groups.add(it.groupId()));
        for (String group : groups) {
            var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            List<String> rows = new ArrayList<>();
            offsets.forEach((partition, it) -> rows.add("group " + group + " " + partition + " " + it));
            Collections.sort(rows);
            lines.add("group " + group);
            lines.addAll(rows);
        }
    }

    static void describeProducers(Admin admin, List<TopicPartition> partitions, List<String> lines) throws Exception {
        var described = admin.describeProducers(partitions);
        for (TopicPartition partition : partitions) {
            if (partition.topic().startsWith("__")) continue;
            List<String> rows = new ArrayList<>();
            for (ProducerState it : described.partitionResult(partition).get().activeProducers()) {
                rows.add("producer " + partition + " " + it);
            }
            Collections.sort(rows);
            lines.addAll(rows);
        }
    }

    static void run(String[] words) throws Exception {
        switch (words[0]) {
            case "fill" -> fill(words[1]);
            case "update" -> update(words[1]);
            case "compact" -> compact(words[1], words[2]);
            case "transact" -> transact(words[1]);
            case "goon" -> goOn();
            case "group" -> consumerGroup(words[1]);
            case "settle" -> settle();
            case "dump" -> dump(words[1], Arrays.copyOfRange(words, 2, words.length));
            case "read" -> read(words[1], words[2]);
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    public static void main(String[] args) throws Exception {
        var commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String answer = "ok";
            try {
                run(line.split(" "));
            } catch (Throwable failure) {
                failure.printStackTrace();
                answer = "failed: " + failure;
            }
            System.out.println(answer);
            System.out.flush();
        }
        // Without a close, which would end the open transaction.
        Runtime.getRuntime().halt(0);
    }
}
