// Moves a replica to another log directory with Kafka's own admin client, and waits until it is there.
//
//     MoveReplica.java BOOTSTRAP BROKER TOPIC PARTITION DIRECTORY

import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.TopicPartitionReplica;

public class MoveReplica {
  public static void main(String[] words) throws Exception {
    var replica =
        new TopicPartitionReplica(words[2], Integer.parseInt(words[3]), Integer.parseInt(words[1]));
    var settings = new Properties();
    settings.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
    try (var admin = Admin.create(settings)) {
      admin.alterReplicaLogDirs(Map.of(replica, words[4])).all().get();
      for (int tries = 0; tries < 3000; tries++) {
        var found = admin.describeReplicaLogDirs(List.of(replica)).values().get(replica).get();
        System.out.println(found);
        if (words[4].equals(found.getCurrentReplicaLogDir())) return;
        Thread.sleep(10);
      }
    }
    throw new IllegalStateException("it does not arrive");
  }
}
