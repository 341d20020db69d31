"""The files API: `GET` as a whole set, delta or 304, `PUT`, and held requests that end with the next change.

Start reading at `routes.py`; `put_body.py`, `entries.py` and `negotiate.py` are pure.
"""
