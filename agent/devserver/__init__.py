"""The app's dev server: started, checked, repaired, restarted and stopped. `Supervisor` is what the agent uses.

Start reading at `lifecycle.py`, the state machine's table; `supervisor.py` feeds it with events.
`repair/controller.py` carries out the repairs on which `repair/diagnosis.py` decides.
"""
