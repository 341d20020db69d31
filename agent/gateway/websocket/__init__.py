"""WebSocket: the dev server's sockets, tunnelled byte for byte, and the gateway's own at /__preview/live.

Start reading at `tunnel.py` for the first and at `live_endpoint.py` for the second. The rest is pure.
"""
