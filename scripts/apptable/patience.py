"""How long to wait on a machine that has other things to do as well.

Every deadline of the table is meant for a machine of its own. Where more programs want the processor than there are
cores, each of them takes so many times longer, and a deadline that ignored it would judge the neighbours.
"""

from __future__ import annotations

import os
from typing import Final

MOST: Final = 8.0


def factor(load: float, cores: int) -> float:
    """How many times longer than alone things take, from 1 to MOST. Pure."""
    return min(MOST, max(1.0, load / max(1, cores)))


def seconds(alone: float) -> float:
    """`alone`: what it may take on a machine that does nothing else."""
    return alone * factor(os.getloadavg()[0], os.cpu_count() or 1)
