// Apache Kafka's own view of record batches, for tests/protocol/records_test.ts.
//
//   kafka java RecordBatchVectors.java write          the fixture record_batches.json, to standard output
//   kafka java RecordBatchVectors.java read FILE      the records of FILE (batches, one after another), as JSON lines
//
// Bytes are base64. Long values are given by their SHA-256 and the rule in `patterned`.

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.KRaftVersionRecord;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.message.VotersRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.Utils;

public class RecordBatchVectors {
    static final ObjectMapper json = new ObjectMapper();
    static final Uuid DIRECTORY = Uuid.fromString("vAlEsYVbTKClcuBUDT5gaA");

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // The lines "line 0\n" … "line 99\n", over and over, cut at `size`.
    static byte[] patterned(int size) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; text.length() < size; i++) text.append("line ").append(i % 100).append('\n');
        return utf8(text.substring(0, size));
    }

    static void write() throws Exception {
        ObjectNode root = json.createObjectNode();
        ArrayNode batches = root.putArray("batches");
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            MemoryRecordsBuilder plain = builder(codec, 1000L, TimestampType.CREATE_TIME, -1L, (short) -1, -1, false);
            plain.append(1700000000000L, utf8("k1"), utf8("v1"));
            plain.append(1700000000500L, null, utf8("no key"));
            plain.append(1699999999000L, utf8("tombstone"), null);
            plain.append(1700000000001L, utf8("h"), new byte[0], new Header[] {
                new RecordHeader("a", utf8("1")), new RecordHeader("größe", null), new RecordHeader("", new byte[0])});
            add(batches, "mixed " + codec, plain);
            MemoryRecordsBuilder large = builder(codec, 0L, TimestampType.CREATE_TIME, 4711L, (short) 3, 42, true);
            large.append(1700000000000L, null, patterned(codec.equals("none") ? 3_000 : 300_000));
            large.append(1700000000001L, null, patterned(7));
            add(batches, "large transactional " + codec, large);
        }
        MemoryRecordsBuilder append = builder("lz4", 7L, TimestampType.LOG_APPEND_TIME, -1L, (short) -1, -1, false);
        append.append(5L, utf8("a"), utf8("b"));
        append.append(6L, utf8("c"), utf8("d"));
        add(batches, "log append time", append);
        add(batches, "commit marker", MemoryRecords.withEndTransactionMarker(99L, 1700000000000L, 5, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 17)));
        add(batches, "abort marker", MemoryRecords.withEndTransactionMarker(100L, 1700000000000L, 5, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.ABORT, 18)));
        LeaderChangeMessage change = new LeaderChangeMessage().setVersion((short) 0).setLeaderId(1)
            .setVoters(List.of(new LeaderChangeMessage.Voter().setVoterId(1)))
            .setGrantingVoters(List.of(new LeaderChangeMessage.Voter().setVoterId(1)));
        add(batches, "leader change", MemoryRecords.withLeaderChangeMessage(3L, 1700000000000L, 2, room(), change));
        add(batches, "snapshot header", MemoryRecords.withSnapshotHeaderRecord(0L, 1700000000000L, 2, room(),
            new SnapshotHeaderRecord().setVersion((short) 0).setLastContainedLogTimestamp(1699999999999L)));
        add(batches, "snapshot footer", MemoryRecords.withSnapshotFooterRecord(9L, 1700000000000L, 2, room(),
            new SnapshotFooterRecord().setVersion((short) 0)));
        add(batches, "kraft version", MemoryRecords.withKRaftVersionRecord(1L, 1700000000000L, 2, room(),
            new KRaftVersionRecord().setVersion((short) 0).setKRaftVersion((short) 1)));
        VotersRecord.EndpointCollection endpoints = new VotersRecord.EndpointCollection();
        endpoints.add(new VotersRecord.Endpoint().setName("CONTROLLER").setHost("localhost").setPort(29093));
        add(batches, "voters", MemoryRecords.withVotersRecord(2L, 1700000000000L, 2, room(),
            new VotersRecord().setVersion((short) 0).setVoters(List.of(new VotersRecord.Voter().setVoterId(1)
                .setVoterDirectoryId(DIRECTORY).setEndpoints(endpoints).setKRaftVersionFeature(
                    new VotersRecord.KRaftVersionFeature().setMinSupportedVersion((short) 0)
                        .setMaxSupportedVersion((short) 1))))));
        ArrayNode hashes = root.putArray("murmur2");
        for (int length = 0; length < 40; length++) {
            byte[] key = new byte[length];
            for (int i = 0; i < length; i++) key[i] = (byte) (i * 37 + length * 11 + 200);
            ObjectNode hash = hashes.addObject();
            hash.put("key", key);
            hash.put("hash", Utils.murmur2(key));
            hash.put("partition", Utils.toPositive(Utils.murmur2(key)) % 7);
        }
        System.out.println(json.writerWithDefaultPrettyPrinter().writeValueAsString(root));
    }

    static ByteBuffer room() {
        return ByteBuffer.allocate(1000);
    }

    static MemoryRecordsBuilder builder(String codec, long baseOffset, TimestampType type, long producerId, short epoch,
                                        int sequence, boolean transactional) {
        return new MemoryRecordsBuilder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2,
            Compression.of(codec).build(), type, baseOffset, 1700000009999L, producerId, epoch, sequence, transactional,
            false, 9, 1 << 20);
    }

    static void add(ArrayNode batches, String name, MemoryRecordsBuilder builder) throws Exception {
        add(batches, name, builder.build());
    }

    static void add(ArrayNode batches, String name, MemoryRecords records) throws Exception {
        ByteBuffer buffer = records.buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        ObjectNode node = batches.addObject();
        node.put("name", name);
        node.put("bytes", bytes);
        describe(node, MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches().iterator().next());
    }

    static void describe(ObjectNode node, RecordBatch batch) throws Exception {
        batch.ensureValid();
        node.put("codec", batch.compressionType().name);
        node.put("baseOffset", batch.baseOffset());
        node.put("lastOffset", batch.lastOffset());
        node.put("leaderEpoch", batch.partitionLeaderEpoch());
        node.put("maxTimestamp", batch.maxTimestamp());
        node.put("producerId", batch.producerId());
        node.put("producerEpoch", batch.producerEpoch());
        node.put("baseSequence", batch.baseSequence());
        node.put("transactional", batch.isTransactional());
        node.put("control", batch.isControlBatch());
        ArrayNode records = node.putArray("records");
        for (org.apache.kafka.common.record.internal.Record record : batch) {
            ObjectNode entry = records.addObject();
            entry.put("offset", record.offset());
            entry.put("timestamp", record.timestamp());
            field(entry, "key", record.hasKey() ? Utils.toArray(record.key()) : null);
            field(entry, "value", record.hasValue() ? Utils.toArray(record.value()) : null);
            ArrayNode headers = entry.putArray("headers");
            for (Header header : record.headers()) {
                ObjectNode pair = headers.addObject();
                pair.put("key", header.key());
                field(pair, "value", header.value());
            }
        }
    }

    static void field(ObjectNode node, String name, byte[] bytes) throws Exception {
        if (bytes == null) node.putNull(name);
        else if (bytes.length <= 1000) node.put(name, bytes);
        else node.put(name, "sha256:" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes)));
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("write")) {
            write();
            return;
        }
        MemoryRecords all = MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(Path.of(args[1]))));
        for (RecordBatch batch : all.batches()) {
            ObjectNode node = json.createObjectNode();
            describe(node, batch);
            System.out.println(json.writeValueAsString(node));
        }
    }
}
