"""The files API: `GET` with its three forms, `PUT` and `DELETE`, and held requests that end with the next change.

Start reading at `routes.py`; `put_body.py`, `entries.py` and `negotiate.py` are pure.
"""
