"""What a chain tells of itself while it runs, whichever backend runs it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ChainReport"]


@dataclass(frozen=True)
class ChainReport:
    """How far a chain is: `done` of `total` iterations, in `stage` "warm-up" or "sampling", divergences so far."""

    chain: int
    done: int
    total: int
    stage: str
    divergences: int
