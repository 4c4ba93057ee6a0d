"""Mixed batches: what each sample holds of another is what its label says."""

from __future__ import annotations

import pytest
import torch

from zooadapt.errors import UsageError
from zooadapt.training.mixup import mix


@pytest.mark.parametrize("seed", range(5))
def test_mixup_averages_by_the_share_of_the_label(seed: int):
    activations = {"x": torch.rand(6, 3, 8, 8), "sizes": torch.arange(6)}
    mixed, order, share = mix(activations, (seed,), mixup=0.4, cutmix=0.0)
    expected = share * activations["x"] + (1 - share) * activations["x"][order]
    torch.testing.assert_close(mixed["x"], expected)
    assert torch.equal(mixed["sizes"], activations["sizes"])
    again = mix(activations, (seed,), mixup=0.4, cutmix=0.0)
    assert torch.equal(again[0]["x"], mixed["x"]) and again[2] == share


@pytest.mark.parametrize("channels", ["second", "last"])
@pytest.mark.parametrize("seed", range(5))
def test_a_cut_out_box_has_the_area_that_the_label_says(seed: int, channels: str):
    numbers = torch.arange(6.0)[:, None, None, None].expand(6, 3, 24, 24)
    if channels == "last":
        numbers = numbers.movedim(1, 3)
    mixed, order, share = mix({"x": numbers}, (seed,), mixup=0.0, cutmix=1.0)
    own, depth = mixed["x"] == numbers, 1 if channels == "second" else 3
    assert torch.equal(own.all(depth), own.any(depth)), "a box goes through all channels"
    for k, other in enumerate(order.tolist()):
        expected = 1.0 if other == k else share
        assert own[k].float().mean() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(4, 8), (4, 9, 8), (4, 8, 9, 10)])
def test_boxes_need_an_image_whose_sides_are_known(shape: tuple[int, ...]):
    with pytest.raises(UsageError, match="no square image"):
        mix({"x": torch.rand(shape)}, (0,), mixup=0.0, cutmix=1.0)


def test_a_stage_says_where_an_image_has_its_channels():
    image = torch.rand(4, 8, 9, 10)
    for channels, depth in ((1, 1), (-1, 3)):
        mixed, _, share = mix({"x": image}, (3,), mixup=0.0, cutmix=1.0, channels=channels)
        own = mixed["x"] == image
        assert torch.equal(own.all(depth), own.any(depth)) and 0 < share < 1
        assert own[0].float().mean() == pytest.approx(share, abs=1e-6)
