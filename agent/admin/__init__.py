"""The HTTP server on AGENT_PORT: health checks, status, logs, metrics, and requests to sync, restart or sleep.

Start at `server.py`. `access.py` (who may do what), `status_json.py` and `metrics.py` (what is shown) are pure.
"""
