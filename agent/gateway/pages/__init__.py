"""What a person sees while there is no app to see: self-contained pages that go away by themselves.

view.py decides what is said, render.py puts it into waking.html or failed.html together with page.css and page.js.
"""
