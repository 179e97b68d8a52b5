"""The principal plane: known axes, agreement with the singular value decomposition, degenerate input."""

import numpy as np
import pytest

from gelora.errors import DataError, InputError
from gelora.geometry import Projection, principal_plane, projection

RNG = np.random.default_rng(0)


def test_the_axes_are_those_of_widest_spread_and_the_shares_are_their_variances():
    points = np.zeros((6, 3))
    points[[0, 1], 1] = 3.0, -3.0  # variance 18 along the second column
    points[[2, 3], 2] = 2.0, -2.0  # 8 along the third
    points[[4, 5], 0] = 1.0, -1.0  # 2 along the first
    seen = principal_plane(points + 100.0)
    np.testing.assert_allclose(seen.coordinates[:, 0], [3, -3, 0, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(seen.coordinates[:, 1], [0, 0, 2, -2, 0, 0], atol=1e-9)
    np.testing.assert_allclose(seen.shares, [18 / 28, 8 / 28])


@pytest.mark.parametrize(("shape", "dense"), [((40, 7), 7), ((7, 40), 7), ((2, 5), 7), ((30, 2), 7), ((40, 7), 2), ((7, 40), 2)])
def test_exact_or_by_lanczos_iteration_it_agrees_with_the_singular_value_decomposition(monkeypatch, shape, dense):
    monkeypatch.setattr(projection, "_DENSE", dense)
    points = RNG.standard_normal(shape) * np.arange(1, shape[1] + 1)
    u, s, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    seen = principal_plane(points)
    np.testing.assert_allclose(np.abs(seen.coordinates), np.abs(u[:, :2] * s[:2]), atol=1e-6)
    np.testing.assert_allclose(seen.shares, s[:2] ** 2 / (s**2).sum(), atol=1e-9)


def test_the_order_of_the_rows_offset_and_size_do_not_change_the_picture():
    points = RNG.standard_normal((50, 6)) * [5, 3, 1, 1, 1, 1]
    seen, order = principal_plane(points), RNG.permutation(50)
    np.testing.assert_allclose(principal_plane(points[order]).coordinates, seen.coordinates[order], atol=1e-9)
    np.testing.assert_allclose(principal_plane(1e200 * points).coordinates, 1e200 * seen.coordinates, rtol=1e-6)
    np.testing.assert_allclose(principal_plane(points + 1e3).coordinates, seen.coordinates, atol=1e-9)


def test_points_on_a_line_have_no_second_coordinate():
    seen = principal_plane(np.outer(np.arange(10.0), [3.0, 4.0, 0.0]))
    np.testing.assert_allclose(seen.coordinates[:, 0], 5 * (np.arange(10) - 4.5))
    assert not seen.coordinates[:, 1].any()
    np.testing.assert_allclose(seen.shares, [1, 0])
    assert principal_plane(np.array([[1.0], [3.0]])).coordinates.tolist() == [[-1, 0], [1, 0]]


def test_what_has_no_plane_is_said():
    with pytest.raises(DataError, match="All 5 rows are equal"):
        principal_plane(np.full((5, 3), 0.1))
    with pytest.raises(DataError, match="1 rows"):
        principal_plane(np.ones((1, 3)))
    with pytest.raises(DataError, match="NaN"):
        principal_plane(np.array([[0.0, np.nan], [1.0, 2.0]]))
    with pytest.raises(InputError, match="shape"):
        principal_plane(np.ones(4))


def test_the_record_goes_to_json_and_back():
    seen = principal_plane(RNG.standard_normal((9, 4)))
    assert Projection.from_json(seen.to_json()) == seen
