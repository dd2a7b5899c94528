// Publishes one scan event to decom and waits until the stream has stored it.
//
//   npm install @nats-io/transport-node@3.4.0 @nats-io/jetstream@3.4.0
//   node publish.mjs HOST PORT SITE DEVICE SCAN
//
// The official client: login (user, creds, nkey) and TLS are options of connect().
// Exit code 0 only when it is stored.
//
// A republication after a lost answer must be the same event: set ID and AT to repeat one
// by hand. A device must keep both until the stream has answered.
import { randomUUID } from "node:crypto";
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";

const [host, port, site, device, scan] = process.argv.slice(2);
if (scan === undefined) {
  console.error("node publish.mjs HOST PORT SITE DEVICE SCAN");
  process.exit(2);
}
const id = process.env.ID || randomUUID(); // one for this scan, for ever
const at = process.env.AT || new Date().toISOString();
const body = JSON.stringify({ v: 1, id, op: "supply", scan, at });

const nc = await connect({ servers: `${host}:${port}`, name: "publish.mjs", timeout: 5000 });
const js = jetstream(nc, { timeout: 5000 });
let code = 1;
for (let attempt = 1; attempt <= 3; attempt++) {
  try {
    // expect: an answer of another stream that captures the subject is not ours.
    const ack = await js.publish(`decom.scan.${site}.${device}`, body, {
      msgID: id, expect: { streamName: "DECOM_SCANS" }, retries: 1,
    });
    console.log(`stored: id ${id} at ${at}, ${JSON.stringify(ack)}`);
    code = 0;
    break;
  } catch (err) {
    // The client says "jetstream is not enabled" where no stream captures the subject.
    console.error(`not known to be stored (try ${attempt}): ${err.message}`);
    if (attempt === 3) {
      console.error(`has decom setup been run? Publish it again with ID=${id} AT=${at}`);
    }
  }
}
await nc.close();
process.exit(code);
