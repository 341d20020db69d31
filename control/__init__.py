"""The control plane: the reference backend of the wire contract (docs/protocol.md), which developers also run locally.

The agent never imports it, and the image does not contain it. It imports only leaves of `agent`, such as the path
rules in `agent/paths.py`. Start reading at `serve.py`.
"""
