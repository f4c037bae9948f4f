"""Movers: the code that moves a volume's bytes into and out of a repository."""
