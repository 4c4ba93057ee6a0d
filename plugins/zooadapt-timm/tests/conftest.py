import os
from pathlib import Path

import pytest
from zooadapt_timm import TimmFamily


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests run beside each other; two pools of threads on the same cores only wait in turns."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def family():
    return TimmFamily()


@pytest.fixture(scope="session")
def reference():
    """The folder of the reference weights."""
    root = Path(__file__).parents[3]
    data = Path(os.environ.get("ZOOADAPT_TEST_DATA", root.parent / "shared" / "data"))
    if not (data / "weights").is_dir():
        pytest.skip(f"no reference data at {data}; set ZOOADAPT_TEST_DATA")
    return data / "weights"
