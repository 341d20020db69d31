"""The app's packages: from package.json and the lock file to a node_modules that matches them.

Start reading at `wanted.py` (what is to be installed) and `installer.py` (when). Modules that run nothing are pure.
"""
