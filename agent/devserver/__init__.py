"""The dev server under supervision: started, watched, restarted, stopped, and never left behind.

`lifecycle`, `rules`, `frames`, `facts`, `environment` and `ansi` decide and are pure; the others touch the world.
`supervisor.Supervisor` is what the rest of the agent uses.
"""
