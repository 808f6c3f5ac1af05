"""What every test shares: the compile cache, the place of the shared data, a headless matplotlib."""

import gc
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports JAX: compiled programs are kept between runs, inside the checkout (`make clean` forgets them).
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# Most tests run a program once or twice: to compile it takes longer than to run it, and half as long without LLVM's
# optimisations. What it computes is the same.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real log, or a skip: it lies beside the checkout and is not part of it."""
    folder = Path(os.environ.get("EARNEST_SHARED", ROOT.parent / "shared")) / "data" / "llmfao"
    if not (folder / "votes.csv").is_file():
        pytest.skip("the real log is not here: set EARNEST_SHARED to the folder that holds data/llmfao")
    return folder


def _let_go():
    jax = sys.modules.get("jax")
    if jax is not None:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_let_go():
    """Forget a module's compiled programs: each holds memory maps, of which a process may have 65,530 on Linux."""
    yield
    _let_go()


@pytest.fixture(autouse=True)
def and_after_each_long_test(request):
    """One long test may compile as many programs as a whole module."""
    yield
    if request.node.get_closest_marker("long"):
        _let_go()
