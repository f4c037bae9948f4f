"""What is on a volume: its file system, told by probing, and the holes in its files."""
