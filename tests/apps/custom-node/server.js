const { createServer } = require("node:http");

createServer((request, response) => {
  response.setHeader("Content-Type", "text/html");
  response.end("<!doctype html><title>app</title><body><h1>No framework</h1></body>");
}).listen(process.env.PORT ?? 3000);
