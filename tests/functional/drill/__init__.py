"""The catastrophe: ``tox -e drill``."""
