"""One run, from its stored request to its result."""
