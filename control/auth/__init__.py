"""Authorization: API keys per app, and the identity tokens of Fly machines.

Start reading at `keys.py`.
"""
