"""Every branch of a restore, each on the lab: ``tox -e restore`` prints them as a table."""
