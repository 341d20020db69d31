"""The known frameworks: how each one's dev server is recognised, started, probed and read. All of it is pure.

Start reading at `framework.py`: a framework is a value of `Framework`, in a module of its own, and `known.py` lists
them.
"""
