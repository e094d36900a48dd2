"""Processes of this agentmem's own modules: they import nothing from the folder that they are started in."""

import sys
from pathlib import Path
from typing import Final

# `python -m` would look for every module in the current folder first; -P, which prevents that, is new in Python 3.11.
# With -c that folder stands in the path as "", which is taken out before anything is imported.
_RUN: Final = (
    "import sys; package, module, *sys.argv[1:] = sys.argv[1:]; sys.path[:] = [package, *filter(None, sys.path)]; "
    "import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this agentmem, under this Python and with the user's PYTHONPATH."""
    isolated = ["-I"] if sys.flags.isolated else []
    return [sys.executable, *isolated, "-c", _RUN, str(Path(__file__).parents[1]), module, *arguments]
