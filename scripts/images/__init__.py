"""scripts/image: builds runtime/Dockerfile, runs it as Fly would, and prints its size and cost.

Start reading at `__main__.py`; `scenarios` are the runs.
"""
