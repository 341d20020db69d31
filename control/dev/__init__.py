"""`scripts/dev`: a folder, its control plane and its preview on one machine, for developers of apps and of this
project.

Start reading at `__main__.py`; `news.py` is pure.
"""
