"""The whole contract, a test for each check and example."""

import pytest

from zooadapt.testing import parametrize


@parametrize("audio")
def test_conformance(check, case):
    check(case)


@parametrize("audio-timm")
def test_conformance_of_spectrograms(check, case):
    check(case)


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # stock WavLM's own
@parametrize("audio-transformers")
def test_conformance_of_transformers(check, case):
    check(case)
