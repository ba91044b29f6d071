"""A local Grand Challenge: to try rules against, and to test against. Held to recordings by tests/contract."""

from casedrop.sandbox.server import Sandbox

__all__ = ["Sandbox"]
