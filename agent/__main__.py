"""`python -m agent`: puts the key out of reach, then hands over to the command line.

In this order: isolation/key_handover.py says why, and why nothing else may be imported before.
"""

from __future__ import annotations

import sys

from agent.isolation import key_handover

if __name__ == "__main__":
    try:
        environ = key_handover.take_key()
    except ValueError as error:
        sys.stderr.write(f"preview-agent: {error}\n")
        sys.exit(2)
    key_handover.protect_memory()
    from agent.cli import main

    sys.exit(main(environ))
