"""Delivery areas."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from menu.geo import circle, contains, validate_polygon

SQUARE = [[116.40, 39.88], [116.50, 39.88], [116.50, 39.96], [116.40, 39.96], [116.40, 39.88]]
LAKE = [[116.44, 39.91], [116.46, 39.91], [116.46, 39.93], [116.44, 39.93], [116.44, 39.91]]
# A horseshoe that is open to the east.
HORSESHOE = [[0, 0], [10, 0], [10, 2], [2, 2], [2, 8], [10, 8], [10, 10], [0, 10], [0, 0]]


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def is_in(area: dict[str, Any], longitude: float, latitude: float) -> bool:
    return contains(area, latitude=latitude, longitude=longitude)


def test_inside() -> None:
    assert is_in(polygon(SQUARE), 116.455, 39.915)


@pytest.mark.parametrize("place", [(116.39, 39.92), (116.51, 39.92), (116.45, 39.87), (116.45, 39.97), (39.92, 116.45)])
def test_outside(place: tuple[float, float]) -> None:
    assert not is_in(polygon(SQUARE), *place)


def test_nobody_delivers_into_a_hole() -> None:
    area = polygon(SQUARE, LAKE)
    assert not is_in(area, 116.45, 39.92)
    assert is_in(area, 116.43, 39.92)


@pytest.mark.parametrize("place", [(116.40, 39.90), (116.45, 39.88), (116.40, 39.88), (116.44, 39.92)])
def test_the_borders_belong_to_the_area(place: tuple[float, float]) -> None:
    assert is_in(polygon(SQUARE, LAKE), *place)


@pytest.mark.parametrize(("place", "inside"), [((1, 5), True), ((5, 1), True), ((5, 9), True), ((5, 5), False)])
def test_a_bent_area(place: tuple[float, float], inside: bool) -> None:
    assert is_in(polygon([[float(x), float(y)] for x, y in HORSESHOE]), *place) is inside


def test_a_ray_through_a_corner_counts_once() -> None:
    diamond = [[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    assert is_in(polygon(diamond), -0.5, 0.0)
    assert not is_in(polygon(diamond), -1.5, 0.0)


@given(
    st.lists(st.floats(0.2, 1.0), min_size=3, max_size=12),
    st.floats(0, 2 * math.pi),
    st.floats(0, 3),
    st.booleans(),
)
def test_a_star_shaped_area_agrees_with_its_radius(
    radii: list[float], angle: float, distance: float, clockwise: bool
) -> None:
    """A point on a ray from the centre is inside exactly until the ray meets the edge, whichever way the ring runs."""
    turns = [2 * math.pi * number / len(radii) for number in range(len(radii))]
    ring = [[r * math.cos(t), r * math.sin(t)] for r, t in zip(radii, turns, strict=True)]
    ring.append(ring[0])
    edge = _distance_to_edge(ring, angle)
    if abs(distance - edge) > 1e-4:
        area = polygon(ring[::-1] if clockwise else ring)
        assert is_in(area, distance * math.cos(angle), distance * math.sin(angle)) is (distance < edge)


def _distance_to_edge(ring: list[list[float]], angle: float) -> float:
    ux, uy = math.cos(angle), math.sin(angle)
    found = []
    for (x1, y1), (x2, y2) in pairwise(ring):
        across = ux * (y2 - y1) - uy * (x2 - x1)
        if abs(across) > 1e-12:
            along, share = (x1 * (y2 - y1) - y1 * (x2 - x1)) / across, (x1 * uy - y1 * ux) / across
            if along > 0 and -1e-9 <= share <= 1 + 1e-9:
                found.append(along)
    return max(found)


def test_a_good_polygon_passes() -> None:
    validate_polygon(polygon(SQUARE, LAKE))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "Polygon",
        {"type": "Point", "coordinates": [1, 2]},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": []},
        polygon(SQUARE[:3]),
        polygon(SQUARE[:4]),  # Not closed
        polygon([[200.0, 0.0], *SQUARE[1:4], [200.0, 0.0]]),
        polygon([[39.88, 116.40], *SQUARE[1:4], [39.88, 116.40]]),  # Latitude first
        polygon([["116.4", "39.88"], *SQUARE[1:4], ["116.4", "39.88"]]),  # type: ignore[list-item]
        polygon([[math.nan, 0.0], *SQUARE[1:4], [math.nan, 0.0]]),
        polygon([[True, 0.0], *SQUARE[1:4], [True, 0.0]]),
        polygon([[1.0], *SQUARE[1:4], [1.0]]),
        polygon([SQUARE[0], *SQUARE[1:4] * 700, SQUARE[0]]),
    ],
)
def test_what_is_no_polygon_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        validate_polygon(value)


# One degree on the ellipsoid, in km, from the published tables: of latitude and of longitude, at a latitude.
DEGREES = {
    0: (110.574, 111.320),
    15: (110.649, 107.550),
    30: (110.852, 96.486),
    45: (111.132, 78.847),
    60: (111.412, 55.800),
}


@pytest.mark.parametrize("latitude", DEGREES)
def test_a_circle_is_as_wide_as_it_was_asked_to_be(latitude: int) -> None:
    north_south, east_west = DEGREES[latitude]
    area = circle(latitude=latitude, longitude=116.4, radius_km=1)
    validate_polygon(area)
    ring = area["coordinates"][0]
    assert (len(ring), len({tuple(point) for point in ring})) == (33, 32)
    ways = [math.hypot((x - 116.4) * east_west, (y - latitude) * north_south) for x, y in ring]
    assert max(abs(way - 1) for way in ways) < 0.001


def test_a_circle_goes_around_its_middle() -> None:
    area = circle(latitude=39.915, longitude=116.455, radius_km=3)
    assert is_in(area, 116.455, 39.915)
    # 2.9 and 3.1 km to the north.
    assert is_in(area, 116.455, 39.9411)
    assert not is_in(area, 116.455, 39.9430)


@pytest.mark.parametrize(("latitude", "longitude"), [(90, 0), (0, 179.999), (-89.999, 10)])
def test_a_circle_beyond_the_edge_of_the_map_is_no_area(latitude: float, longitude: float) -> None:
    with pytest.raises(ValidationError):
        validate_polygon(circle(latitude=latitude, longitude=longitude, radius_km=5))
