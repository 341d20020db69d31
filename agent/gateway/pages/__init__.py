"""What a person sees while there is no app to see: self-contained pages that go away by themselves.

view.py decides what is said, render.py puts it into waking.html or failed.html together with page.css and page.js.
asleep.html takes the app's place while the machine sleeps, and is silent. shim.js is what brings it there: the one
script that the gateway adds to the app's own pages.
"""
