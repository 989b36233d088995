"""Is this machine fit for a mesh: the interpreter, the disk, who can read secrets, the open files."""

import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from parade.cli.finding import Finding

OLDEST_PYTHON = (3, 11)
LEAST_DISK = 500 * 1024 * 1024
"""Free bytes below which databases soon cannot be written."""
LEAST_OPEN_FILES = 1024
"""An agent manager or a dispatcher has a connection for each instance, and databases and logs come on top."""


def machine_findings(folder: Path) -> Iterator[Finding]:
    """Yields what there is to say of this machine.

    Args:
        folder: A folder on the disk that the mesh writes to.
    """
    yield Finding(
        "python",
        ok=sys.version_info >= OLDEST_PYTHON,
        detail=f"{platform.python_version()} at {sys.executable}",
        advice="Install Python 3.11 or newer.",
    )
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk",
        ok=free >= LEAST_DISK,
        detail=f"{free / 2**30:.1f} GiB free for {folder}",
        advice=f"Make room: below {LEAST_DISK // 2**20} MiB the databases of the mesh can soon not be written.",
    )
    readable = [str(path.relative_to(folder)) for path in (folder / "secrets").glob("*/*") if _open_to_others(path, folder)]
    yield Finding(
        "secrets",
        ok=not readable,
        detail=f"others can read {', '.join(sorted(readable)[:5])}" if readable else "nobody else can read them",
        advice=f"Let nobody else in: chmod -R go= {folder / 'secrets'}",
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    yield Finding(
        "open files",
        ok=unlimited or soft >= LEAST_OPEN_FILES,
        detail="no limit" if unlimited else f"at most {soft} a process",
        advice=f"Raise the limit before you start the mesh: ulimit -n {LEAST_OPEN_FILES}",
    )


def _open_to_others(file: Path, top: Path) -> bool:
    """Tells whether other users can read a file: it lets them, and so does every folder on the way from `top` on."""
    way = [folder for folder in file.parents if folder == top or folder.is_relative_to(top)]
    return file.is_file() and bool(file.stat().st_mode & 0o044) and all(folder.stat().st_mode & 0o011 for folder in way)
