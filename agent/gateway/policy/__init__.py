"""What happens to a request: forwarded, blocked, held or answered by the gateway; and what it shows about activity.

Start reading at `routing.py`. All modules are pure.
"""
