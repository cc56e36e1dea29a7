"""The staff's side: a copy of every paid order in the default database."""
