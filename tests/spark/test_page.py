"""docs/cluster.md runs as it stands, but for where its files are."""

import runpy
from pathlib import Path

import pytest

from .conftest import votes_frame

ROOT = Path(__file__).resolve().parents[2]
pages = runpy.run_path(str(ROOT / "tests" / "docs" / "pages.py"))
PAGE = "docs/cluster.md"

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]


def test_the_blocks_run(spark, on_spark, tmp_path):
    votes = votes_frame()
    on_spark(votes).write.parquet(f"{tmp_path}/votes/")
    names = {"__name__": "page"}
    for block in pages["python"](PAGE):
        exec(compile(block.code.replace("s3://", f"{tmp_path}/"), PAGE, "exec"), names)
    assert spark.read.parquet(f"{tmp_path}/users/").count() == votes["user"].nunique()
    assert spark.read.parquet(f"{tmp_path}/weighted/").count() == len(votes)
