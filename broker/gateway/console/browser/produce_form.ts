/** The form that writes one message. */

import { announce, need, problemOf } from "./dom.ts";

/** Drives the form of a topic; `onWritten` is called after each message. */
export function startProduce(topic: string, onWritten: () => void): void {
  const form = need<HTMLFormElement>("#produce form");
  const told = need("[data-told]", form);
  const send = need<HTMLButtonElement>("[type=submit]", form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void write();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  async function write(): Promise<void> {
    send.disabled = true;
    told.className = "hint";
    told.textContent = "Writing …";
    try {
      const response = await fetch(`/console/api/produce?topic=${encodeURIComponent(topic)}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(recordOf(new FormData(form))),
      });
      if (!response.ok) throw new Error(await problemOf(response));
      const { partition, offset } = await response.json();
      told.textContent = `Written to partition ${partition} at offset ${offset}, and on disk.`;
      announce(told.textContent);
      onWritten();
    } catch (error) {
      told.className = "fault";
      told.textContent = error instanceof Error ? error.message : String(error);
    }
    send.disabled = false;
  }
}

/** What the form says, in the form in which weir takes records. Errors: Error for headers that are none. */
export function recordOf(data: FormData): Record<string, unknown> {
  const text = (name: string) => String(data.get(name) ?? "");
  const lines = text("headers").split("\n").map((line) => line.trim()).filter((line) =>
    line !== ""
  );
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`"${line}" is no header: write name: value`);
    return { key: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() };
  });
  return {
    key: text("key") === "" ? null : text("key"),
    value: data.get("tombstone") === null ? text("value") : null,
    headers,
    ...(text("partition") !== "" && { partition: Number(text("partition")) }),
  };
}
