"""The agent's side of the files API: requests, answers and their entries (contract, sections 2 and 3).

Start at `client.py`. `exchange.py` (headers) and `entries.py` (bodies) are pure.
"""
