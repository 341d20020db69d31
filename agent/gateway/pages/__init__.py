"""The gateway's own pages, shown while there is no app to show, and the script that it adds to the app's pages.

Start reading at `view.py` (pure), which decides what a page says; `render.py` fills the templates in assets/.
"""
