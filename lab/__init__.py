"""A cloud in a directory: a real Cinder, and on demand a real Keystone, on one machine.

For the demo, for the tests, and for trying volflow without a cloud.
"""

from lab.lab import Lab, LabError, Status

__all__ = ["Lab", "LabError", "Status"]
