"""Writes the workspace: staged files, atomic renames, and a journal of what was written.

Start at `store.py`, which the sync loop calls; `apply.py` moves one set into place. Everything here blocks.
"""
