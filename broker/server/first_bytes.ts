/** What it was that came instead of a Kafka request, told from its first bytes, for the log line. */

const HTTP_METHODS = ["GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "PRI "];
const TLS_HANDSHAKE = 0x16;
const TLS_MAJOR_VERSION = 3;

/** Returns: a sentence for people, or null when nothing known begins like this. */
export function describeFirstBytes(bytes: Uint8Array): string | null {
  if (bytes.length >= 2 && bytes[0] === TLS_HANDSHAKE && bytes[1] === TLS_MAJOR_VERSION) {
    return "Cannot read frame: this is a TLS hello, and the listener speaks plain text; " +
      "set security.protocol=PLAINTEXT in the client";
  }
  const start = String.fromCharCode(...bytes.subarray(0, 4));
  if (HTTP_METHODS.includes(start)) {
    return "Cannot read frame: this is an HTTP request, and the listener speaks the Kafka protocol; " +
      "HTTP has a port of its own";
  }
  if (start === "SSH-") return "Cannot read frame: this is an SSH client";
  return null;
}
