"""Which command is run for the app, and in which folder. All of it is pure.

Start reading at `app_command.py`: it takes the folder from `app_dir.py` and the words from `dev_script.py`.
"""
