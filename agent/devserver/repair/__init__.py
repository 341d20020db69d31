"""Repairs of what the dev server runs on: memory, disk, caches, Next's lock file, file watches.

`diagnosis.py` decides and `history.py` limits how often; `controller.py` gathers the facts and carries repairs out.
"""
