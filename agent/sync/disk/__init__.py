"""The workspace on disk: staged files, atomic renames, the journal of what was written.

Start reading at `store.py`, which the sync loop calls; `apply.py` moves one set into place.
"""
