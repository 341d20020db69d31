"""What is specific to Next.js: its probes, hot-reload socket, log lines, soft restart and watched configuration.

Start reading at `readiness.py`; `hmr_messages.py`, `config_watch.py` and `log_symptoms.py` are pure.
"""
