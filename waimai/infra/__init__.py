"""The machinery below the four apps: ids, shards, outbox, timers, barrier. No food words here."""
