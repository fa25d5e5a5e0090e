/** The frame of the message browser, which `browser/messages.ts` fills and drives, and the form that writes one. */

import { Empty, Snippet } from "./elements.tsx";

interface TopicProps {
  readonly topic: string;
  readonly partitionCount: number;
  /** Where clients reach a broker, as this page's reader would. */
  readonly bootstrap: string;
}

/** Messages of one topic. */
export function MessagesView({ topic, partitionCount, bootstrap }: TopicProps) {
  return (
    <section class="messages" data-messages={topic} aria-label={`Messages of ${topic}`}>
      <QueryForm partitionCount={partitionCount} />
      <div class="status">
        <span data-status role="status">Reading …</span>
        <button type="button" class="plain" data-stop hidden>Stop</button>
        <button type="button" class="plain" data-continue hidden>Search on</button>
      </div>
      <div data-fault role="alert" hidden class="fault"></div>
      <div data-empty hidden>
        <FirstMessages topic={topic} bootstrap={bootstrap} />
      </div>
      <table class="rows" hidden>
        <caption class="unseen">Messages</caption>
        <thead>
          <tr>
            <th scope="col" class="colTime">Time</th>
            <th scope="col" class="colPartition num">Partition</th>
            <th scope="col" class="colOffset num">Offset</th>
            <th scope="col" class="colKey">Key</th>
            <th scope="col">Value</th>
          </tr>
        </thead>
        <tbody></tbody>
      </table>
      <div class="pager" data-foot hidden>
        <button type="button" data-more>More</button>
        <span>Save what is shown:</span>
        <button type="button" class="plain" data-export="ndjson">NDJSON</button>
        <button type="button" class="plain" data-export="zip">zip</button>
      </div>
      <ProduceDialog topic={topic} partitionCount={partitionCount} />
    </section>
  );
}

function PartitionOptions(
  { any, partitionCount }: { readonly any: string; readonly partitionCount: number },
) {
  return (
    <>
      <option value="">{any}</option>
      {Array.from(
        { length: partitionCount },
        (_, partition) => <option value={partition}>{partition}</option>,
      )}
    </>
  );
}

function QueryForm({ partitionCount }: { readonly partitionCount: number }) {
  return (
    <form class="bar" data-query role="search">
      <div class="field">
        <label for="order">Show</label>
        <select id="order" name="order" autocomplete="off">
          <option value="newest">newest first</option>
          <option value="oldest">oldest first</option>
          <option value="offset">from an offset</option>
          <option value="time">from a time</option>
        </select>
      </div>
      <div class="field" data-for="offset" hidden>
        <label for="offset">Offset</label>
        <input id="offset" name="offset" type="number" min="0" step="1" value="0" />
      </div>
      <div class="field" data-for="time" hidden>
        <label for="time">Your local time</label>
        <input id="time" name="time" type="datetime-local" step="1" />
      </div>
      <div class="field">
        <label for="partition">Partition</label>
        <select id="partition" name="partition" autocomplete="off">
          <PartitionOptions any="all" partitionCount={partitionCount} />
        </select>
      </div>
      <div class="field grow">
        <label for="filter">Search</label>
        <input
          id="filter"
          name="q"
          type="search"
          data-search
          autocomplete="off"
          spellcheck={false}
          placeholder="paid, key:alice, $.total > 10"
        />
      </div>
      <button type="submit">Search</button>
      <button type="button" data-live aria-pressed="false">Live</button>
      <button type="button" data-open="produce" class="primary">Produce</button>
    </form>
  );
}

function FirstMessages(
  { topic, bootstrap }: { readonly topic: string; readonly bootstrap: string },
) {
  const js = `import { Kafka } from "kafkajs";
const producer = new Kafka({ brokers: ["${bootstrap}"] }).producer();
await producer.connect();
await producer.send({ topic: "${topic}", messages: [{ key: "alice", value: "hello" }] });`;
  return (
    <Empty title="Nothing has been written here yet">
      <p>
        Write the first message with the Produce button, or from a shell or a program. It shows up
        here while you follow the topic with Live.
      </p>
      <Snippet
        label="With kcat"
        text={`echo 'alice:hello' | kcat -P -b ${bootstrap} -t ${topic} -K:`}
      />
      <Snippet label="With kafkajs" text={js} />
    </Empty>
  );
}

function ProduceDialog(
  { topic, partitionCount }: { readonly topic: string; readonly partitionCount: number },
) {
  return (
    <dialog id="produce" aria-labelledby="produceTitle">
      <h2 id="produceTitle">Produce to {topic}</h2>
      <form class="form" method="dialog">
        <div class="pair">
          <div class="field">
            <label for="produceKey">Key</label>
            <input id="produceKey" name="key" autocomplete="off" spellcheck={false} />
          </div>
          <div class="field">
            <label for="producePartition">Partition</label>
            <select id="producePartition" name="partition">
              <PartitionOptions any="by the key" partitionCount={partitionCount} />
            </select>
          </div>
        </div>
        <div class="field">
          <label for="produceValue">Value</label>
          <textarea id="produceValue" name="value" spellcheck={false}></textarea>
        </div>
        <div class="field">
          <label for="produceHeaders">Headers, one a line: name: value</label>
          <textarea id="produceHeaders" name="headers" spellcheck={false} class="short"></textarea>
        </div>
        <label>
          <input type="checkbox" name="tombstone" />{" "}
          No value: a tombstone, which deletes the key where the topic is compacted
        </label>
        <p class="hint" data-told role="status">Written with acks=all. Ctrl+Enter sends.</p>
        <div class="bar">
          <button type="submit" class="primary">Produce</button>
          <button type="button" data-close>Close</button>
        </div>
      </form>
    </dialog>
  );
}
