"""restic as repository and mover."""
