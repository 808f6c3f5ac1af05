"""Which optional packages are there, asked without noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

__all__ = ["installed", "without_widgets"]


@contextmanager
def without_widgets() -> Iterator[None]:
    """NumPyro's progress bar looks for a notebook's widgets when it is imported, which are not used here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


def installed(package: str) -> bool:
    """Whether a package can be imported. To ask for NumPyro imports it where ArviZ has left its lazy stand-in."""
    with without_widgets():
        return find_spec(package) is not None
