"""Where models are kept that were downloaded or made here."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The folder of all models: FASTEMBED_CACHE_PATH where that is set, or the user's cache."""
    # fastembed's own default is in the system's temporary folder, which a reboot empties.
    stated = os.environ.get("FASTEMBED_CACHE_PATH")
    return Path(stated) if stated else Path(platformdirs.user_cache_dir("agentmem")) / "models"
