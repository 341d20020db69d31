"""The public port: a proxy in front of the dev server, with pages of its own while there is no app to show.

Start reading at `connection.py`, which serves one browser connection; `server.py` has `Gateway`, which app.py builds.
"""
