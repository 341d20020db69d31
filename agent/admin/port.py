"""Why AGENT_PORT cannot be listened on, in words that say what to do.

The holder of a taken port is looked up only here, when the start has failed anyway: it means reading all of /proc.
Without the right to look into other users' processes it stays unnamed.
"""

from __future__ import annotations

import errno

import psutil

from agent.errors import ConfigError, Occupied


def unusable(port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return Occupied(f"AGENT_PORT {port} is taken{_holder(port)}: stop what holds it, or set another AGENT_PORT")
    if error.errno == errno.EACCES:
        return ConfigError(f"AGENT_PORT {port} is not ours to listen on: set AGENT_PORT to a port from 1024 up")
    return ConfigError(f"AGENT_PORT {port} cannot be listened on: {error.strerror or error}")


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and listens.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
