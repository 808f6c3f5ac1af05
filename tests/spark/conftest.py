"""Spark in local mode, and logs that are small enough for pandas to count."""

import shutil

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def spark():
    """A session of two threads, or a skip that says what is missing."""
    pytest.importorskip("pyspark", reason="PySpark is not installed: make test-spark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java: make java (on Debian: apt-get install default-jre-headless)")
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "3",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[2]").appName("earnest")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def votes_frame(users=150, seed=0, ties=True):
    """Votes of users who gave 1 to 6 each, on three models in two categories: many users have the same pattern."""
    rng = np.random.default_rng(seed)
    given = rng.integers(1, 7, users)
    n = given.sum()
    user = np.repeat([f"user {i:04d}" for i in range(users)], given)
    earnest = np.repeat(rng.random(users) < 0.6, given)
    pairs = np.array([(i, j) for i in range(3) for j in range(3) if i != j])[rng.integers(0, 6, n)]
    skill = np.array([1.0, 0.0, -1.0])
    first = rng.random(n) < np.where(earnest, 1 / (1 + np.exp(-2 * (skill[pairs[:, 0]] - skill[pairs[:, 1]]))), 0.6)
    winner = np.where(first, "model_a", "model_b")
    if ties:
        winner = np.where(rng.random(n) < 0.15, "tie", winner)
    names = np.array(["ant", "bee", "cat"])
    return pd.DataFrame(
        {
            "user": user,
            "model_a": names[pairs[:, 0]],
            "model_b": names[pairs[:, 1]],
            "winner": winner,
            "category": np.array(["code", "prose"])[rng.integers(0, 2, n)],
            "gap": rng.integers(-1, 2, n) / 2,
        }
    )


@pytest.fixture(scope="session")
def frame():
    return votes_frame()


@pytest.fixture(scope="session")
def on_spark(spark):
    """A pandas frame on Spark, missing values as they are there; in so many partitions."""

    def put(frame, schema=None, partitions=2):
        rows = [tuple(None if value is pd.NA else value for value in row) for row in frame.itertuples(index=False)]
        rows = [tuple(v.item() if isinstance(v, np.generic) else v for v in row) for row in rows]
        kinds = {"f": "double", "i": "bigint"}
        schema = schema or ", ".join(f"`{c}` {kinds.get(frame[c].dtype.kind, 'string')}" for c in frame)
        return spark.createDataFrame(rows, schema).repartition(partitions)

    return put
