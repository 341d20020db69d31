"""The app's packages: from package.json and the lock file to a node_modules that matches them.

`wanted.py` decides what is wanted, `managers.py` how each package manager is called, `installer.py` does it.
"""
