"""The HTTP connection to the backend: one session, its credential, name resolution, and the meaning of status codes.

Every other room may use it. Start at `session.py`. `responses.py` and `token_renewal.py` are pure.
"""
