"""`python -m agent check`: checks whether the agent can run here, and whether the app's code is isolated.

Start at `preflight.py`; `isolation.py` runs `attacks.py` as the app's user.
"""
