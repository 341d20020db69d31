// A server that answers from memory, on the HTTP server that Next uses. Proxies are measured in front of it, because
// Next's own work on a page would hide the overhead of a proxy.
import http from "node:http";

const small = Buffer.alloc(2_048, "x");
const large = Buffer.alloc(1 << 20, "y");

http
  .createServer((request, response) => {
    const body = request.url === "/large" ? large : small;
    response.setHeader("Content-Type", "text/plain");
    response.setHeader("Content-Length", body.length);
    response.end(body);
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
