"""The whole contract, a test for each check and example."""

from zooadapt.testing import parametrize


@parametrize("timm")
def test_conformance(check, case):
    check(case)
