"""Every branch of a restore, on the lab; ``tox -e restore`` prints a table of them."""
