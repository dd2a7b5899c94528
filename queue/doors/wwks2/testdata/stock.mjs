// A stock system for the tests: connects, says what it is given, prints what it hears and
// how each connection ended, and connects again. With BYTES it says <Ack/> when a connection
// has heard so many. node stock.mjs PORT TEXT [TIMES [BYTES]]
import { connect } from "node:net";

const [port, text, times] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4] ?? 1e9)];
const ackAt = Number(process.argv[5] ?? -1);
const print = (what) => process.stdout.write(JSON.stringify(what) + "\n");
let connection = 0;
function go() {
  if (connection >= times) return;
  const n = ++connection;
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.setNoDelay(true);
  socket.on("connect", () => {
    print({ connection: n, event: "open" });
    for (const piece of text.split("|")) socket.write(piece);
  });
  let heard = 0;
  socket.on("data", (b) => {
    print({ connection: n, heard: b.toString("base64") });
    if ((heard += b.length) === ackAt) socket.write("<Ack/>");
  });
  socket.on("end", () => {
    print({ connection: n, event: "end" });
    socket.end();
  });
  socket.on("error", (e) => print({ connection: n, event: e.code }));
  socket.on("close", () => setTimeout(go, 30));
}
go();
