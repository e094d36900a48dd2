"""What an installation takes on the disk, package by package: `python -m tests.perf.install_size`.

It installs the checkout without extras into a fresh virtual environment, as a user does.
"""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from rich import print as print_rich
from rich.table import Table

_CHECKOUT = Path(__file__).parents[2]
_SHOWN_MB = 1.0


def sizes_mb(site_packages: Path) -> dict[str, float]:
    """What each installed package takes on the disk, in blocks of the file system, the largest first."""
    sizes = {
        found.name: sum(_bytes(Path(str(file.locate()))) for file in found.files or []) / 1e6
        for found in distributions(path=[str(site_packages)])
    }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _bytes(file: Path) -> int:
    return file.stat().st_blocks * 512 if file.is_file() and not file.is_symlink() else 0


def main() -> None:
    """Installs, and prints the packages."""
    with TemporaryDirectory(prefix="agentmem-install-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([f"{folder}/bin/python", "-m", "pip", "install", "-q", str(_CHECKOUT)], check=True)
        (site_packages,) = Path(folder, "lib").glob("python*/site-packages")
        sizes = sizes_mb(site_packages)
        whole = sum(map(_bytes, Path(folder).rglob("*"))) / 1e6
    table = Table("package", "MB")
    for name, size in sizes.items():
        if size >= _SHOWN_MB:
            table.add_row(name, f"{size:.1f}")
    others = [size for size in sizes.values() if size < _SHOWN_MB]
    table.add_row(f"{len(others)} others", f"{sum(others):.1f}")
    table.add_row("the whole environment", f"{whole:.1f}")
    print_rich(table)


if __name__ == "__main__":
    main()
