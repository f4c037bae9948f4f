"""Repository and Mover by the program restic (https://restic.net)."""
