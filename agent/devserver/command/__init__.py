"""Decides which command is run for the app, and in which folder. All of it is pure.

Start reading at `app_command.py`: it gets the folder from `app_dir.py` and the script's text from `dev_script.py`.
"""
