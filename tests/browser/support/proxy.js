/** A proxy that serves the service under a sub-path and can cut the connection. */
import { createServer, request } from "node:http";

/**
 * @typedef {object} Proxy
 * @property {string} url with the sub-path and a slash at its end
 * @property {() => void} cut closes all connections and refuses new ones
 * @property {() => void} restore
 * @property {() => Promise<void>} close
 */

/**
 * @param {string} target
 * @param {string} path such as "/shop/coupons"
 * @returns {Promise<Proxy>}
 */
export async function startProxy(target, path) {
  const { hostname, port } = new URL(target);
  const server = createServer((incoming, outgoing) => {
    const asked = incoming.url ?? "/";
    if (!asked.startsWith(`${path}/`)) return outgoing.writeHead(404).end();
    const options = { hostname, port, method: incoming.method, path: asked.slice(path.length), headers: incoming.headers, agent: false };
    const forwarded = request(options, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on("error", () => outgoing.destroy());
    incoming.on("error", () => forwarded.destroy());
    outgoing.on("close", () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
  let isCut = false;
  // The port stays open meanwhile, so that no other process can take it.
  server.on("connection", (socket) => isCut && socket.destroy());
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port: own } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${own}${path}/`,
    cut() {
      isCut = true;
      server.closeAllConnections();
    },
    restore() {
      isCut = false;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve(undefined));
        server.closeAllConnections();
      }),
  };
}
