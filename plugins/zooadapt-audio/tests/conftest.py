import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """The reference data."""
    root = Path(__file__).parents[3]
    data = Path(os.environ.get("ZOOADAPT_TEST_DATA", root.parent / "shared" / "data"))
    if not (data / "weights").is_dir():
        pytest.skip(f"no reference data at {data}; set ZOOADAPT_TEST_DATA")
    return data
