"""The way to the backend: one HTTP session, the credential it sends, name resolution that reads the hosts file.

Every other room may use it. Start reading at `session.py`; `credential.py` decides which token is sent.
"""
