"""Checks the app's own files before anything runs them: files that cannot be parsed, and notes for the author.

Start reading at `review.py`, which decides and is pure; `reader.py` reads the files.
"""
