"""Serves a local folder as an app's files, for `--watch` and `scripts/dev`.

Start reading at `watch.py`.
"""
