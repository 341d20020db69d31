"""The files API as the agent speaks it: the request, the answer's form, and the entries in it.

Start reading at `client.py`; `exchange.py` and `entries.py` are pure and follow docs/protocol.md, section 1.
"""
