"""The frameworks whose dev servers are known: how each is recognised, started, asked and listened to.

Deciding, pure: all of it. A framework is a value of `framework.Framework`, in a module of its own; `known` has all of
them. What must not live here: processes, sockets and files (launch.py, probe.py and hmr.py touch the world).
"""
