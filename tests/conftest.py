"""What the tests share: where real data lies, and a cache folder of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache."""
    os.environ["ZOOADAPT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The reference data; tests that need it are skipped where it is not."""
    place = Path(os.environ.get("ZOOADAPT_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (place / "weights").is_dir():
        pytest.skip(f"no reference data at {place}; ZOOADAPT_TEST_DATA says where it is")
    return place
