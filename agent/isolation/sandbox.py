"""What stands in front of a command so that it runs as DEV_USER, with no privilege to lose. Pure.

A chain of small programs, each of which changes this process and then becomes the next one: there is one process
id from the start to the end, and no code of ours runs between fork and exec. The order matters: limits are set while
this still is root, and setpriv comes last, because after it nothing can be given back.

For every process that runs the app's own code, and only for those: the dev server, installers and their scripts.
"""

from __future__ import annotations

from agent.isolation.user import DevUser

OOM_SCORE = 500
"""Half of all memory on top of what it uses: the kernel ends it before the agent, whatever their sizes."""

NICENESS = 10
"""The agent's own work is short, and a visitor, a health check or the stop waits for it; what compiles gets the rest.
The end of a fork bomb came in half the time. (A kernel that shares by session, sched_autogroup, does not look at it.)
"""

TASKS_MOST = 1024
"""Processes and threads that the user may have in all, whoever started them: the kernel counts by user. `next dev` was
seen with 45 for two routes; the rest is room for installs, builds and machines with many cores, each of which adds
threads. A fork without end stops here, with the process table and most of the memory still the agent's.
"""


def end_all(user: DevUser | None) -> tuple[str, ...] | None:
    """The command that ends every process of the user at one moment, as only the kernel can; None without a split.

    It becomes that user for it, and so could not end anybody else's. Without limits, since at them nothing starts.
    """
    if user is None:
        return None
    identity = (f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--no-new-privs")
    return (user.tools.setpriv, *identity, "--", "/bin/sh", "-c", "kill -KILL -1")


def confined(command: tuple[str, ...], user: DevUser | None) -> tuple[str, ...]:
    """`command` as it is to be executed; unchanged where there is no split."""
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
