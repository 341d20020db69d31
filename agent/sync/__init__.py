"""Copies the backend's files into the workspace, one whole set at a time.

Start at `loop.py`; `plan.py` decides the operations, `poll_policy.py` when to ask, `template.py` what stands beside.
"""
