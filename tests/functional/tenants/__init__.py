"""Tenants, on a lab with Keystone."""
