"""Sixty of timm's architectures, small ones, through the conformance checks of stages.

`tests/benchmarks/timm_architectures.py` runs over all of them."""

import pytest

from zooadapt.testing import CHECKS, Case

SAMPLE = {
    32: (
        "coat_lite_tiny", "convit_tiny", "convnextv2_atto", "deit_tiny_distilled_patch16_224",
        "dla46x_c", "edgenext_xx_small", "efficientnet_b0", "efficientnet_lite0",
        "efficientvim_m1", "efficientvit_b0", "ese_vovnet19b_slim_dw", "eva02_tiny_patch14_224",
        "fasternet_t0", "fbnetc_100", "gcvit_xxtiny", "ghostnet_050", "gmlp_ti16_224",
        "hardcorenas_a", "hgnetv2_b0", "iformer_t", "inception_next_atto", "lcnet_035",
        "lcnetv2_base", "legacy_seresnet18", "levit_128s", "mambaout_femto", "mixnet_s",
        "mnasnet_small", "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_035",
        "mobilevit_xxs", "mobilevitv2_050", "nf_regnet_b0", "pit_ti_224", "pit_ti_distilled_224",
        "poolformer_s12", "pvt_v2_b0", "regnetx_002", "regnety_002", "repghostnet_050",
        "resnest14d", "resnet18", "rexnet_100", "semnasnet_075", "seresnet18", "skresnet18",
        "starnet_s050", "swiftformer_xs", "test_byobnet", "test_convnext2", "test_convnext3",
        "test_efficientnet", "test_efficientnet_evos", "test_efficientnet_gn",
        "test_efficientnet_ln", "test_mambaout", "tinynet_e",
    ),
    64: (
        "ghostnetv2_100",
    ),
    240: (
        "crossvit_tiny_240",
    ),
}  # fmt: skip
"""Input size to architectures."""

CHAIN = (
    "check_stages_share_out_the_state", "check_carries_are_batches",
    "check_the_chain_is_the_network", "check_the_chain_is_the_network_in_training",
    "check_a_carry_is_all_there_is", "check_stages_leave_their_input_alone",
    "check_native_config_is_claimed", "check_native_names_are_kept",
)  # fmt: skip


def test_the_sample_is_of_sixty_architectures():
    assert len({name for names in SAMPLE.values() for name in names}) == 60


@pytest.mark.parametrize(
    ("architecture", "size"), [(name, size) for size, names in SAMPLE.items() for name in names]
)
def test_the_stages_compute_what_the_network_computes(family, architecture, size):
    config = {"architecture": architecture, "num_classes": 3, "pretrained_cfg": {}}
    case = Case(family, family.with_input(config, size=size), name=architecture)
    assert case.backbone.depth > 1 and not case.backbone.notes
    checks = [check for check in CHECKS if check.__name__ in CHAIN]
    assert len(checks) == len(CHAIN)
    for check in checks:
        check(case)
