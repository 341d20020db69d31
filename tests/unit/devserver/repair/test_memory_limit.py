"""What the kernel says about memory, on each kind of machine the agent may wake up on.

The files of version 1 and of the virtual machine were recorded; those of version 2 are as the kernel documents them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.devserver.repair import memory_limit
from agent.devserver.repair.memory_limit import MIB, Membership, Memory, MemoryLevel
from agent.devserver.repair.memory_reader import MemoryReader

HYBRID = """\
9:name=systemd:/
8:pids:/
5:devices:/
4:memory:/boxes/8207837b
1:cpu:/
0::/
"""
HYBRID_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
UNLIMITED_1 = "9223372036854771712\n"
STAT_1 = """\
cache 102539264
rss 2281472
hierarchical_memory_limit 9223372036854771712
hierarchical_memsw_limit 9223372036854771712
total_cache 102539264
total_rss 2281472
total_inactive_anon 2269184
total_active_anon 12288
total_inactive_file 44867584
total_active_file 57671680
total_unevictable 0
"""
OOM_CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
VERSION_2 = "0::/system.slice/preview.service\n"
MOUNTS_2 = "24 30 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
STAT_2 = (
    "anon 304087040\nfile 90177536\ninactive_anon 1\ninactive_file 50331648\nactive_file 33554432\nslab_reclaimable 0\n"
)
EVENTS = "low 0\nhigh 0\nmax 25\noom 3\noom_kill 2\noom_group_kill 0\n"
MEMINFO = (
    "MemTotal:        1004620 kB\nMemFree:          185848 kB\nMemAvailable:     600000 kB\nBuffers:           1 kB\n"
)
VMSTAT = "nr_free_pages 4554\noom_kill 4\n"
STAT = "7 (a (b) c) S 1 7\n"
MACHINE = MemoryLevel(1004620 * 1024, 404620 * 1024)


def tree(root: Path, **files: str) -> Path:
    """`root` with `files`, each under its path, as the root of a machine."""
    for name, text in {
        "proc/self/stat": STAT,
        "proc/7/stat": STAT,
        "proc/meminfo": MEMINFO,
        "proc/vmstat": VMSTAT,
        **files,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HYBRID, Membership(1, "/boxes/8207837b")),
        (VERSION_2, Membership(2, "/system.slice/preview.service")),
        ("3:cpu,memory:/a:b\n0::/x\n", Membership(1, "/a:b")),
        ("1:cpu:/\n", None),
        ("", None),
    ],
)
def test_the_group_that_counts_is_the_one_with_the_memory_controller(text: str, found: Membership | None) -> None:
    assert memory_limit.membership(text) == found


@pytest.mark.parametrize(
    ("mounts", "member", "found"),
    [
        (
            HYBRID_MOUNTS,
            Membership(1, "/boxes/1"),
            ("/sys/fs/cgroup/memory/boxes/1", "/sys/fs/cgroup/memory/boxes", "/sys/fs/cgroup/memory"),
        ),
        (MOUNTS_2, Membership(2, "/"), ("/sys/fs/cgroup",)),
        (MOUNTS_2, Membership(2, "/a"), ("/sys/fs/cgroup/a", "/sys/fs/cgroup")),
        # Only the container's own part is mounted, and its membership is told from outside.
        ("9 1 0:9 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory", Membership(1, "/docker/abc"),
         ("/sys/fs/cgroup/memory",)),
        ("9 1 0:9 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory", Membership(1, "/docker/abcd"),
         ("/sys/fs/cgroup/memory",)),
        (MOUNTS_2, Membership(2, "/../../other"), ("/sys/fs/cgroup",)),
        ("9 1 0:9 / /my\\040groups rw - cgroup2 none rw", Membership(2, "/"), ("/my groups",)),
        ("nonsense\n\n9 - cgroup2\n", Membership(2, "/"), ()),
    ],
)  # fmt: skip
def test_the_folders_of_a_group_are_found_where_they_are_mounted(
    mounts: str, member: Membership, found: tuple[str, ...]
) -> None:
    assert memory_limit.folders(mounts, member) == found


def test_version_1_without_a_limit_leaves_the_machine_as_the_limit(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/boxes/8207837b"
    root = tree(
        tmp_path,
        **{
            "proc/self/cgroup": HYBRID,
            "proc/self/mountinfo": HYBRID_MOUNTS,
            f"{group}/memory.limit_in_bytes": UNLIMITED_1,
            f"{group}/memory.usage_in_bytes": "945225728\n",
            f"{group}/memory.stat": STAT_1,
            f"{group}/memory.oom_control": OOM_CONTROL,
        },
    )

    assert MemoryReader(vm_megabytes=None, root=root).read() == Memory(MACHINE.limit, MACHINE.used, 1, f"/{group}")


def test_version_1_counts_what_the_kernel_cannot_take_back(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/boxes/8207837b"
    root = tree(
        tmp_path,
        **{
            "proc/7/cgroup": HYBRID,
            "proc/7/mountinfo": HYBRID_MOUNTS,
            f"{group}/memory.limit_in_bytes": f"{512 * MIB}\n",
            f"{group}/memory.usage_in_bytes": f"{400 * MIB}\n",
            f"{group}/memory.stat": STAT_1,
            f"{group}/memory.oom_control": OOM_CONTROL,
        },
    )

    read = MemoryReader(vm_megabytes=None, root=root).read(7)

    assert read == Memory(512 * MIB, 400 * MIB - 44867584 - 57671680, 1, f"/{group}")


def test_version_2_takes_the_smallest_limit_on_the_way_up(tmp_path: Path) -> None:
    own, above = "sys/fs/cgroup/system.slice/preview.service", "sys/fs/cgroup/system.slice"
    root = tree(
        tmp_path,
        **{
            "proc/self/cgroup": VERSION_2,
            "proc/self/mountinfo": MOUNTS_2,
            f"{own}/memory.max": "max\n",
            f"{own}/memory.current": f"{380 * MIB}\n",
            f"{own}/memory.stat": STAT_2,
            f"{own}/memory.events": EVENTS,
            f"{above}/memory.max": f"{512 * MIB}\n",
            f"{above}/memory.current": f"{400 * MIB}\n",
            f"{above}/memory.stat": STAT_2,
            f"{above}/memory.events": EVENTS.replace("oom_kill 2", "oom_kill 9"),
        },
    )

    assert MemoryReader(vm_megabytes=None, root=root).read() == Memory(512 * MIB, 400 * MIB - 80 * MIB, 2, f"/{own}")


@pytest.mark.parametrize(
    ("megabytes", "limit"),
    [(None, MACHINE.limit), ("512", 512 * MIB), ("1024", MACHINE.limit), ("lots", MACHINE.limit)],
)
def test_a_virtual_machine_is_its_own_limit(tmp_path: Path, megabytes: str | None, limit: int) -> None:
    root = tree(tmp_path, **{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": ""})

    assert MemoryReader(vm_megabytes=megabytes, root=root).read() == Memory(limit, MACHINE.used, 4)


def test_a_limit_above_what_is_mounted_is_known_by_version_1() -> None:
    texts = {
        "memory.limit_in_bytes": UNLIMITED_1,
        "memory.usage_in_bytes": f"{100 * MIB}",
        "memory.stat": f"hierarchical_memory_limit {256 * MIB}\n",
    }

    assert memory_limit.levels(1, [texts]) == [MemoryLevel(256 * MIB, 100 * MIB)]


def test_a_process_that_has_just_died_is_looked_for_where_it_was(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/boxes/8207837b"
    root = tree(
        tmp_path,
        **{
            "proc/7/cgroup": HYBRID,
            "proc/7/mountinfo": HYBRID_MOUNTS,
            f"{group}/memory.oom_control": OOM_CONTROL,
        },
    )
    reader = MemoryReader(vm_megabytes=None, root=root)
    alive = reader.read(7)
    tree(tmp_path, **{"proc/7/cgroup": HYBRID.replace("/boxes/8207837b", "/"), "proc/7/stat": STAT.replace("S", "Z")})
    dead = reader.read(7)

    assert alive is not None
    assert alive.counter == f"/{group}"
    assert dead == alive


def test_where_the_kernel_says_nothing_nothing_is_known(tmp_path: Path) -> None:
    assert MemoryReader(vm_megabytes=None, root=tmp_path).read() is None


def test_this_machine_can_be_read() -> None:
    read = MemoryReader(vm_megabytes=None).read()

    assert read is not None
    assert 0 < read.used < read.limit
    assert read.limit <= memory_limit.numbers(Path("/proc/meminfo").read_text().replace(":", ""))["MemTotal"] * 1024


@given(st.text(), st.text(), st.text())
@example("", "", "¹")  # a digit, and no number
def test_whatever_a_file_says_nothing_breaks(cgroup: str, mounts: str, stat: str) -> None:
    member = memory_limit.membership(cgroup) or Membership(2, "/")
    memory_limit.folders(mounts, member)
    memory_limit.levels(member.version, [dict.fromkeys(memory_limit.FILES[member.version], stat)])
    memory_limit.machine(stat, stat)
    memory_limit.oom_kills(member.version, {"memory.events": stat}, stat)
