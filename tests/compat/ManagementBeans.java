import com.sun.tools.attach.VirtualMachine;
import java.util.StringJoiner;
import java.util.TreeSet;
import javax.management.MBeanAttributeInfo;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** Prints every MBean of the JVM whose process id is given: its name, a tab, and its attributes with blanks between. */
public class ManagementBeans {
    public static void main(String[] arguments) throws Exception {
        VirtualMachine machine = VirtualMachine.attach(arguments[0]);
        JMXServiceURL address = new JMXServiceURL(machine.startLocalManagementAgent());
        machine.detach();
        try (JMXConnector connector = JMXConnectorFactory.connect(address)) {
            MBeanServerConnection beans = connector.getMBeanServerConnection();
            for (ObjectName name : new TreeSet<>(beans.queryNames(null, null))) {
                StringJoiner attributes = new StringJoiner(" ");
                for (MBeanAttributeInfo attribute : beans.getMBeanInfo(name).getAttributes()) {
                    attributes.add(attribute.getName());
                }
                System.out.println(name + "\t" + attributes);
            }
        }
    }
}
