"""The wall between the agent and the app's own code: which user that code runs as, and what it may see and do.

Start reading at `user.py`. `sandbox.py` is what stands in front of each command, `child_environment.py` its variables.
"""
