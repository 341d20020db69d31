"""nginx as a plain proxy, as a baseline: the cost of a proxy that only forwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.benches.place import program

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream behind {{ server 127.0.0.1:{behind}; keepalive 8; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""
"""The defaults, except where they would slow nginx down: no log, persistent connections, no temporary files."""

STARTS_WITHIN = 10.0


@asynccontextmanager
async def nginx(folder: Path, port: int, behind: int) -> AsyncIterator[None]:
    """Run nginx on `port` until the block ends. Raise Absent."""
    path = program("nginx", "nginx-light")
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, behind=behind), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(path, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log"))
    )
    try:
        async with asyncio.timeout(STARTS_WITHIN):
            await _listening(port, process)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)  # only an attempt shows that a port is open
            continue
        writer.close()
        return
    raise RuntimeError("nginx exited at its start: its configuration is not accepted")
