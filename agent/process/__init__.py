"""Processes of the app's own code: started in a session of their own, read, measured, and ended completely.

Start reading at `child.py`. The dev server's supervisor and the package installer both use this room.
"""
