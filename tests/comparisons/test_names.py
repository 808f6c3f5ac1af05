"""Names of users: where they stand, and that none is made as wide as the longest."""

import numpy as np

from earnest.comparisons.names import among, as_names, places

NAMES = ["b", "a", "مستخدم", "x" * 1_000, "a\x00", "a "]


def test_names_are_found_where_they_stand():
    assert places(NAMES, ["a", "nobody", "x" * 1_000, "a\x00"]).tolist() == [1, -1, 3, 4]
    assert among(["a", "nobody", "a\x00", "a "], NAMES).tolist() == [True, False, True, True]
    assert among(["a", "b"], []).tolist() == [False, False]
    assert places([], ["a"]).tolist() == [-1]
    assert among([], NAMES).shape == (0,)


def test_names_stay_objects():
    for given in (NAMES, tuple(NAMES), np.array(["a", "bcd"])):
        found = as_names(given)
        assert found.dtype == object
        assert list(found) == list(given)
        assert all(type(name) is str for name in found)
