"""Cores, memory and file systems of this machine."""

import os
import re
import resource
import sys
from pathlib import Path
from typing import Final

_NETWORK: Final = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|vboxsf|"
    r"fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|gcsfuse|blobfuse2?|davfs2?|smbnetfs)"
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of network file system that a path is on; None if it is on none, or if that is unknown.

    Only Linux lists its mounts (proc_pid_mountinfo(5)).
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        real = path.resolve()
    except OSError:
        return None
    file_system, depth = "", 0
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4]))
        if len(mounted.parts) >= depth and real.is_relative_to(
            mounted
        ):  # the last mount on a folder hides earlier ones
            file_system, depth = after.split(" ")[0], len(mounted.parts)
    return file_system if _NETWORK.fullmatch(file_system) else None


def usable_cores() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_resident_bytes() -> int:
    """The peak resident memory of this process."""
    try:  # on Linux, getrusage includes the parent's memory at the fork
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
