"""Callbacks whose worker fails as it joins its group, as one did that met a broker which had just been frozen."""

from tests.fault.steps import fail_to_join

fail_to_join(AssertionError("no bootstrap"))
