"""A python-cinderclient whose Cinder is in memory and answers at once.

volflow's own :class:`~volflow.cloud.cinder.Cinder` runs on top of it. Unit tests use it for what a
real Cinder cannot be made to do at the right moment: to fail, or to change between two calls. The
benchmark uses it to measure volflow alone, so it must stay cheap with thousands of volumes.
"""

from tests.support.fake_cinder.client import FakeClient
from tests.support.fake_cinder.volumes import TYPE

__all__ = ["TYPE", "FakeClient"]
