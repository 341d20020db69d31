"""The preview agent: one process that keeps one app's live preview true, fast and asleep when nobody looks.

Every folder is a room with one job; ARCHITECTURE.md has the map, and tests/unit/test_architecture.py holds
the rooms to it.
"""

__version__ = "0.1.0"
