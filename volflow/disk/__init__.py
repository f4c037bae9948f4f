"""What is on a volume: its file system, found by probing, and the holes in its files."""
