"""The whole contract, a test for each check and example."""

from zooadapt.testing import parametrize


@parametrize("transformers")
def test_conformance(check, case):
    check(case)


@parametrize("transformers-vision")
def test_conformance_of_images(check, case):
    check(case)
