"""Mixed batches: what each sample holds of another is what its label says."""

from __future__ import annotations

import pytest
import torch

from zooadapt.errors import UsageError
from zooadapt.mixing import mix


@pytest.mark.parametrize("seed", range(5))
def test_mixup_averages_by_the_share_of_the_label(seed: int):
    carry = {"x": torch.rand(6, 3, 8, 8), "sizes": torch.arange(6)}
    mixed, order, share = mix(carry, (seed,), mixup=0.4, cutmix=0.0)
    expected = share * carry["x"] + (1 - share) * carry["x"][order]
    torch.testing.assert_close(mixed["x"], expected)
    assert torch.equal(mixed["sizes"], carry["sizes"])
    again = mix(carry, (seed,), mixup=0.4, cutmix=0.0)
    assert torch.equal(again[0]["x"], mixed["x"]) and again[2] == share


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_out_box_has_the_area_that_the_label_says(seed: int):
    numbers = torch.arange(6.0)[:, None, None, None].expand(6, 3, 20, 30)
    mixed, order, share = mix({"x": numbers}, (seed,), mixup=0.0, cutmix=1.0)
    own = (mixed["x"] == numbers).float().mean((1, 2, 3))
    for k, other in enumerate(order.tolist()):
        assert own[k] == pytest.approx(1.0 if other == k else share, abs=1e-6)


def test_boxes_need_an_image():
    with pytest.raises(UsageError, match="no image"):
        mix({"features": torch.rand(4, 8)}, (0,), mixup=0.0, cutmix=1.0)
