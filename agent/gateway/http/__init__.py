"""HTTP/1.1 between a browser and the dev server: heads, bodies, forwarded headers, connections to the server.

Start reading at `proxy.py`, which passes one request on. `heads.py`, `bodies.py` and `forwarded_headers.py` are pure.
"""
