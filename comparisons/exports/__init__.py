"""Votes out of the exports of the tools that collect them."""

from .read import TOOLS, read_export, recognised

__all__ = ["TOOLS", "read_export", "recognised"]
