"""The table of apps behind scripts/apps: every app is installed and started bare and through the agent, and compared.

`rows`, `edits`, `compare`, `judge` and `report` decide and are pure; `making`, `programs`, `tab`, `bare`, `ours`,
`series` and `story` touch the world.
"""
