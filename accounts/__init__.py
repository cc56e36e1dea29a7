"""People: customers and staff, how they log in, where they live, and what they may do in which shop."""
