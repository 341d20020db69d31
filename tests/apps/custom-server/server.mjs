import { createServer } from "node:http";
import next from "next";
import { WebSocketServer } from "ws";

const port = Number(process.env.PORT ?? 3000);
const app = next({ dev: true, hostname: "localhost", port });
await app.prepare();
const handle = app.getRequestHandler();
const upgrade = app.getUpgradeHandler();
const server = createServer((request, response) => handle(request, response));
const sockets = new WebSocketServer({ noServer: true });
sockets.on("connection", (socket) => socket.send("greetings"));
server.on("upgrade", (request, socket, head) => {
  if (request.url === "/ws") sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit("connection", ws));
  else upgrade(request, socket, head);
});
server.listen(port);
