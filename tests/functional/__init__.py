"""Tests on the lab, a real Cinder."""
