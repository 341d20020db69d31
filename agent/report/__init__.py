"""Reports the agent's state to the backend (contract, section 4).

Start at `reporter.py`, which sends. `body.py` (content), `schedule.py` (when) and `answer.py` are pure.
"""
