"""Conventions that the code and all tests follow."""
