"""Builds the command line that runs a command as DEV_USER, without any privilege. Pure.

It is a chain of small programs, each of which changes its own process and then executes the next one. So the pid stays
the same, and no Python code runs between fork and exec. The order matters: limits are set while the process is root,
and setpriv comes last, because it drops every privilege for good.

Used for every process that runs the app's own code (the dev server, installers and their scripts), and only for those.
"""

from __future__ import annotations

from agent.isolation.user import DevUser

OOM_SCORE = 500
"""Counts like half of all memory on top of what it uses, so the kernel kills it before the agent, whatever their sizes.
"""

NICENESS = 10
"""The agent's own work is short, and visitors, health checks and stops wait for it, so it goes first. Measured: a fork
bomb was ended in half the time. A kernel that schedules by session (sched_autogroup) ignores niceness.
"""

TASKS_MOST = 1024
"""The limit of the user's processes and threads together; the kernel counts them per user. Measured: `next dev` had 45
for two routes. The rest is for installs, builds and machines with many cores, which add threads. A fork bomb stops
here, while the agent still has most of the memory and of the process table.
"""


def kill_all_command(user: DevUser | None) -> tuple[str, ...] | None:
    """The command that kills every process of the user at once, which only the kernel can do; None without DEV_USER.

    It runs as that user, so it cannot kill any other process. It runs without limits, because it could not start at
    them.
    """
    if user is None:
        return None
    identity = (f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--no-new-privs")
    return (user.tools.setpriv, *identity, "--", "/bin/sh", "-c", "kill -KILL -1")


def confined(command: tuple[str, ...], user: DevUser | None) -> tuple[str, ...]:
    """`command` as it has to be executed; unchanged without DEV_USER."""
    if user is None:
        return command
    tools = user.tools
    return (
        *(tools.nice, "-n", str(NICENESS), "--"),
        *(tools.choom, "-n", str(OOM_SCORE), "--"),
        *(tools.prlimit, "--core=0:0", f"--nproc={TASKS_MOST}:{TASKS_MOST}"),
        *(tools.setpriv, f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--no-new-privs"),
        *("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"),
        *command,
    )
