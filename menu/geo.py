"""Delivery areas: GeoJSON polygons, their check, and whether a point lies inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

Position = tuple[float, float]
Ring = Sequence[Position]
MOST_POSITIONS = 2000
# About 10 cm on the ground: nearer to the line than that is on the line.
EDGE_DEGREES = 1e-6
# The ellipsoid that satellites measure by: half its long axis, and the square of its eccentricity.
WGS84_A_KM, WGS84_E2 = 6378.137, 0.00669437999014
CORNERS = 32


def validate_polygon(value: Any) -> None:
    """Raise Django's ValidationError unless `value` is a GeoJSON Polygon: closed rings of [longitude, latitude]."""
    if not isinstance(value, dict) or value.get("type") != "Polygon":
        raise ValidationError(_("配送范围必须是 GeoJSON 的 Polygon。"))
    rings = value.get("coordinates")
    if not isinstance(rings, list) or not rings:
        raise ValidationError(_("配送范围缺少坐标。"))
    for ring in rings:
        _validate_ring(ring)
    if sum(len(ring) for ring in rings) > MOST_POSITIONS:
        raise ValidationError(_("配送范围的坐标点过多。"))


def _validate_ring(ring: Any) -> None:
    if not isinstance(ring, list) or len(ring) < 4:
        raise ValidationError(_("每个环至少要有四个点。"))
    if not all(_is_position(point) for point in ring):
        raise ValidationError(_("坐标应为 [经度, 纬度]，经度在 ±180、纬度在 ±90 之间。"))
    if ring[0] != ring[-1]:
        raise ValidationError(_("环的首尾两点必须相同。"))


def _is_position(point: Any) -> bool:
    if not isinstance(point, list) or len(point) != 2:
        return False
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in point):
        return False
    longitude, latitude = point[0], point[1]
    return math.isfinite(longitude) and math.isfinite(latitude) and abs(longitude) <= 180 and abs(latitude) <= 90


def circle(*, latitude: float, longitude: float, radius_km: float) -> dict[str, Any]:
    """A polygon with 32 corners on the circle around a point, good to some metres for the ways that food is brought.

    Degrees by the radii of curvature of the WGS84 ellipsoid, in the meridian and across it: J. P. Snyder, Map
    Projections: A Working Manual, USGS Professional Paper 1395 (1987), chapter 4.
    """
    flat = 1 - WGS84_E2 * math.sin(math.radians(latitude)) ** 2
    in_meridian = WGS84_A_KM * (1 - WGS84_E2) / flat**1.5
    across = WGS84_A_KM / math.sqrt(flat) * math.cos(math.radians(latitude))
    ring = []
    for corner in range(CORNERS):
        angle = 2 * math.pi * corner / CORNERS
        east = math.degrees(radius_km * math.cos(angle) / across)
        north = math.degrees(radius_km * math.sin(angle) / in_meridian)
        ring.append([round(longitude + east, 6), round(latitude + north, 6)])
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def contains(polygon: dict[str, Any], *, latitude: float, longitude: float) -> bool:
    """Whether the point lies in the polygon; its border, and the border of a hole, belong to it."""
    outer, *holes = polygon["coordinates"]
    point = (float(longitude), float(latitude))
    if _on_edge(outer, point):
        return True
    if not _inside(outer, point):
        return False
    return not any(_inside(hole, point) and not _on_edge(hole, point) for hole in holes)


def _inside(ring: Ring, point: Position) -> bool:
    """Ray casting: a ray to the east crosses the ring an odd number of times."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in pairwise(ring):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


def _on_edge(ring: Ring, point: Position) -> bool:
    x, y = point
    for (x1, y1), (x2, y2) in pairwise(ring):
        length = math.hypot(x2 - x1, y2 - y1)
        along = 0.0 if length == 0 else ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length**2
        nearest = min(1.0, max(0.0, along))
        if math.hypot(x - x1 - nearest * (x2 - x1), y - y1 - nearest * (y2 - y1)) <= EDGE_DEGREES:
            return True
    return False
