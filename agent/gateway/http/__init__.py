"""HTTP/1.1 between a browser and the dev server, written by hand so that a body passes byte for byte.

Start reading at `proxy.py`, which forwards one request. `heads.py`, `bodies.py` and `forwarded_headers.py` are pure.
"""
