// A robot for the tests: plays its script, one list of steps a connection, and prints what
// it is told. node robot.mjs SCRIPT.json; the port is printed first.
//   {"send": text}   {"wait": ms}   {"until": text}: wait until the client has said it
//   {"file": name}: wait until it is there
//   {"end": true}: close our half   {"destroy": true}: reset the connection
import { createServer } from "node:net";
import { existsSync, readFileSync } from "node:fs";

const script = JSON.parse(readFileSync(process.argv[2], "utf8"));
let connection = 0;
const server = createServer({ allowHalfOpen: true }, async (socket) => {
  const steps = script[Math.min(connection++, script.length - 1)];
  let said = "";
  socket.setNoDelay(true);
  socket.on("data", (b) => {
    said += b;
    process.stdout.write(JSON.stringify({ connection, said: String(b) }) + "\n");
  });
  socket.on("error", () => {});
  socket.on("end", () => socket.end());
  for (const step of steps) {
    if (step.send !== undefined) await new Promise((done) => socket.write(step.send, done));
    if (step.wait) await new Promise((done) => setTimeout(done, step.wait));
    while (step.until && !said.includes(step.until)) await new Promise((done) => setTimeout(done, 10));
    while (step.file && !existsSync(step.file)) await new Promise((done) => setTimeout(done, 10));
    if (step.end) socket.end();
    if (step.destroy) socket.resetAndDestroy();
  }
});
server.listen(0, "127.0.0.1", () => process.stdout.write(server.address().port + "\n"));
