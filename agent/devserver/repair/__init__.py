"""Repairs of what the dev server depends on: memory, disk, caches, Next's lock file, file watches.

Start reading at `diagnosis.py`, which decides from `evidence.py`; `history.py` limits how often each repair is done.
`controller.py` gathers the evidence and carries repairs out, with `caches.py`, `next_lock.py` and `inotify.py`.
"""
