/** What was asked of a client cannot be done: the one error of clients that is about what was asked, not how it went. */

/** The message is for whoever asked: a person at a command line, a caller over HTTP. */
export class ClientError extends Error {
  override name = "ClientError";
}
