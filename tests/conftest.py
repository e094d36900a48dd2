"""What all tests share: a model cache and a configuration of their own: none reads or writes the user's."""

import os
import signal

import pytest

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # tests run in a process a core; before numpy is loaded
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell: commands would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model cache that is empty at first; what is made once is made once a session."""
    os.environ["FASTEMBED_CACHE_PATH"] = str(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session", autouse=True)
def configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A configuration folder in which no server is named at first."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))
