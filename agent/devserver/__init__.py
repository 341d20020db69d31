"""The app's dev server: started, checked, repaired, restarted and stopped. `Supervisor` is what the agent uses.

Start reading at `lifecycle.py`, the state machine's table; `supervisor.py` feeds it with events.
A repair is followed through `repair/controller.py`, `diagnosis.py`, `evidence.py`, `history.py` and what it calls there.
"""
