"""What is decided before anything is made."""
