import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.UUID;

/**
 * Publishes one scan event to decom and waits until the stream has stored it.
 *
 * <pre>java Publish.java HOST PORT SITE DEVICE SCAN</pre>
 *
 * Java 17, one file, no library: no login, no TLS. A device wants the official client
 * (io.nats:jnats); this shows what goes over the wire. Exit code 0 only when it is stored.
 *
 * A republication after a lost answer must be the same event: set ID and AT to repeat one
 * by hand. A device must keep both until the stream has answered.
 */
public class Publish {
    private static final int PATIENCE = 5_000; // milliseconds

    public static void main(String[] args) throws Exception {
        if (args.length != 5) {
            System.err.println("java Publish.java HOST PORT SITE DEVICE SCAN");
            System.exit(2);
        }
        String subject = "decom.scan." + args[2] + "." + args[3];
        String id = env("ID", UUID.randomUUID().toString()); // one for this scan, for ever
        String at = env("AT", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString());
        String body = "{\"v\":1,\"id\":" + quote(id) + ",\"op\":\"supply\",\"scan\":" + quote(args[4]) + ",\"at\":" + quote(at) + "}";

        for (int attempt = 1; attempt <= 3; attempt++) {
            String ack;
            // After silence, the old connection says nothing any more: a new one each time.
            try (Socket socket = new Socket()) {
                socket.connect(new InetSocketAddress(args[0], Integer.parseInt(args[1])), PATIENCE);
                socket.setSoTimeout(PATIENCE);
                ack = publish(socket, subject, id, body);
            } catch (IOException why) { // a time-out is one, too
                System.err.println("no answer (try " + attempt + "): " + why.getMessage()
                        + "; it may be stored or not, the same event is sent again");
                continue;
            }
            if (ack == null) {
                fail("no stream takes " + subject + ": has decom setup been run?");
            } else if (ack.contains("\"error\"") || !ack.contains("\"stream\":\"DECOM_SCANS\"")) {
                fail("not stored: " + ack);
            }
            System.out.println("stored: id " + id + " at " + at + ", " + ack);
            return;
        }
        fail("not known to be stored: publish it again with ID=" + id + " AT=" + at);
    }

    /** Returns the stream's answer, null when nobody listens to the subject. */
    private static String publish(Socket socket, String subject, String id, String body) throws IOException {
        InputStream in = new BufferedInputStream(socket.getInputStream());
        OutputStream out = socket.getOutputStream();
        String inbox = "_INBOX." + UUID.randomUUID().toString().replace("-", "");
        byte[] head = ("NATS/1.0\r\nNats-Msg-Id: " + id + "\r\n\r\n").getBytes(StandardCharsets.US_ASCII);
        byte[] data = body.getBytes(StandardCharsets.UTF_8);

        ByteArrayOutputStream request = new ByteArrayOutputStream();
        // no_responders: a subject which no stream takes is said at once.
        request.writeBytes(("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"
                + "\"name\":\"Publish.java\",\"lang\":\"java\",\"version\":\"1\"}\r\n"
                + "SUB " + inbox + " 1\r\n"
                + "HPUB " + subject + " " + inbox + " " + head.length + " " + (head.length + data.length) + "\r\n")
                .getBytes(StandardCharsets.US_ASCII));
        request.writeBytes(head);
        request.writeBytes(data);
        request.writeBytes("\r\n".getBytes(StandardCharsets.US_ASCII));
        out.write(request.toByteArray());
        out.flush();

        while (true) {
            String line = readLine(in);
            if (line.equals("PING")) {
                out.write("PONG\r\n".getBytes(StandardCharsets.US_ASCII));
                out.flush();
            } else if (line.startsWith("-ERR")) {
                fail("refused by the server: " + line);
            } else if (line.startsWith("HMSG")) {
                return null;
            } else if (line.startsWith("MSG")) {
                int length = Integer.parseInt(line.substring(line.lastIndexOf(' ') + 1));
                byte[] answer = in.readNBytes(length);
                if (answer.length < length) {
                    throw new EOFException("the connection ended within the answer");
                }
                return new String(answer, StandardCharsets.UTF_8);
            }
        }
    }

    private static String readLine(InputStream in) throws IOException {
        StringBuilder line = new StringBuilder();
        for (int c; (c = in.read()) != '\n';) {
            if (c < 0) {
                throw new EOFException("the server closed the connection");
            }
            if (c != '\r') {
                line.append((char) c);
            }
        }
        return line.toString();
    }

    /** A JSON string. Control characters, GS (0x1D) among them, must be escaped. */
    private static String quote(String s) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static void fail(String why) {
        System.err.println(why);
        System.exit(1);
    }
}
