"""The conformance kit: checks that a family keeps the contract of `zooadapt.family`.

A plugin's whole `tests/test_conformance.py`:

    from zooadapt.testing import parametrize
    @parametrize("NAME")
    def test_conformance(check, case): check(case)

Everything is offline, on random weights and synthesised samples. No pytest is needed to import it.
"""

from zooadapt.data.synthesis import synthesise
from zooadapt.testing.case import Case
from zooadapt.testing.outcomes import Broken, Follows, Skip
from zooadapt.testing.suite import CHECKS, Outcome, cases, parametrize, run, select

__all__ = [
    "CHECKS",
    "Broken",
    "Case",
    "Follows",
    "Outcome",
    "Skip",
    "cases",
    "parametrize",
    "run",
    "select",
    "synthesise",
]
