"""What becomes of a request: passed on, refused, held, or answered here; and what it says about activity. Pure.

Start reading at `routing.py`.
"""
