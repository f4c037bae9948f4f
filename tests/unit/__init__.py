"""Unit tests, one test module for each module of volflow."""
