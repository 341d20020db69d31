"""Separates the agent from the app's own code: which user that code runs as, and what it may see and do.

Start reading at `user.py`. `sandbox.py` builds each command line, `child_environment.py` its variables, and
`key_handover.py` hides the agent's own key.
"""
