// A server that answers from memory, on the HTTP server that Next runs on: what stands behind a proxy is measured with
// it, because Next's own work on a page would hide what the proxy adds.
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
