import pytest


@pytest.fixture
def folder(tmp_path):
    """An empty folder of votes to be watched."""
    path = tmp_path / "votes"
    path.mkdir()
    return path
