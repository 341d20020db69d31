"""What only Next.js has: its hot-reload socket, its log lines, its own restart, the config file it watches.

Start reading at `readiness.py`; `hmr_messages.py`, `config_watch.py` and `log_symptoms.py` are pure.
"""
