"""Decides when the machine goes to sleep, and puts it to sleep: by exit, or by suspend on Fly.

Start at `idle_clock.py` (pure: until when it stays awake) and `controller.py`; `facts.py` is pure too.
"""
