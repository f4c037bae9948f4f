"""Random writes between snapshots: what an increment may miss, and for how long."""
