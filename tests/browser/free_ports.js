// Prints the lower of two neighbouring ports of this machine that are free.
import { once } from "node:events";
import { createServer } from "node:net";

async function listen(port) {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function pair() {
  const lower = await listen(0);
  const { port } = lower.address();
  const upper = port < 65535 ? await listen(port + 1).catch(() => null) : null;
  lower.close();
  upper?.close();
  return upper ? port : null;
}

let port = null;
for (let tries = 0; port === null && tries < 100; tries += 1) port = await pair();
if (port === null) throw new Error("no two neighbouring ports are free");
console.log(port);
