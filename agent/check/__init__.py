"""`python -m agent check`: what would keep the agent from running here, and whether the app's code is kept out.

Start reading at `preflight.py`; `attacks.py` is what `isolation.py` runs as the app's user.
"""
