"""The public port: stands in front of the dev server, and speaks for it while it cannot.

`server.Gateway` is what app.py builds. http1, bodies, frames, headers, routing, classes,
answers and pages.view decide and touch nothing.
"""
