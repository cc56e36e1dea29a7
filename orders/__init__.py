"""Orders: placing, paying, delivering, undoing; on the shard of their user."""
