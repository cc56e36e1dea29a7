"""Commands that speak of the whole system."""
