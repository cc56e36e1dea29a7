"""Shops, what they sell, what it costs, and how much of it there is."""
