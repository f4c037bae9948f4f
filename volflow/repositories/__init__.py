"""Repositories: where backups are stored."""
