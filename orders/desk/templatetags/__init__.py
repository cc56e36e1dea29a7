"""Filters of the staff's screens."""
