"""Runs to look at: a page about one, and a drawing of its plan."""
