"""What the control plane keeps: revisions and file contents in SQLite.

Start reading at `store.py`.
"""
