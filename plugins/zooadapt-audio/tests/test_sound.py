"""transformers' networks of sound: stages, padding, exports in stock transformers, sources."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from zooadapt_audio import SoundFamily

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import DataError
from zooadapt.family import FILES, Clip

FAMILY = SoundFamily()
EXAMPLES = FAMILY.examples()
WAVEFORMS = [name for name in EXAMPLES if name not in ("whisper", "spectrogram")]
LENGTHS = (9_000, 4_000, 900)
RATE = 16_000
every_kind = pytest.mark.parametrize("kind", EXAMPLES)

pytestmark = pytest.mark.filterwarnings(
    "ignore:Support for mismatched key_padding_mask"  # stock WavLM with a mask
)


def clip(samples: int) -> Clip:
    noise = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    return Clip(samples=noise, rate=RATE)


def seeded(config, num_classes: int = 3) -> torch.nn.Module:
    """A network whose every parameter is random, so that equal logits mean something."""
    torch.manual_seed(0)
    net = FAMILY.build(config, num_classes)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return net


def batch(config, lengths=LENGTHS) -> dict[str, torch.Tensor]:
    prepare = FAMILY.preprocessor(config)
    return prepare.collate([prepare(clip(n), rng=None) for n in lengths])


@every_kind
@torch.no_grad()
def test_the_stages_are_the_network_from_every_freeze_point(kind):
    config = EXAMPLES[kind]
    backbone, activations = StagedBackbone(FAMILY, seeded(config)), batch(config)
    names = [stage.name for stage in backbone.stages]
    assert names == ["embeddings", "layer0", "layer1", "pooling"]
    expected = backbone.net(**activations).logits
    assert expected.std() > 0.01
    for freeze_at in range(backbone.depth + 1):
        stored = backbone.run(activations, stop=freeze_at)
        logits = backbone.logits(stored, start=freeze_at)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", WAVEFORMS)
@torch.no_grad()
def test_a_clip_alone_gives_the_logits_of_a_batch(kind):
    """In stock transformers, which runs each alone and takes no mask for that."""
    config = EXAMPLES[kind]
    net = seeded(config)
    stock = getattr(transformers, type(net).__name__)(net.config).eval()
    stock.load_state_dict(net.state_dict())
    prepare = FAMILY.preprocessor(config)
    alone = torch.cat([
        stock(input_values=prepare(clip(n), rng=None)["input_values"][None]).logits
        for n in LENGTHS
    ])  # fmt: skip
    together = StagedBackbone(FAMILY, net).logits(batch(config))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(net(**batch(config)).logits, alone, rtol=0, atol=1e-5)


@every_kind
@torch.no_grad()
def test_an_export_loads_in_stock_transformers_with_equal_logits(kind, tmp_path):
    config, classes = EXAMPLES[kind], ["yes", "no", "other"]
    net = seeded(config)
    native = dict(FAMILY.native_config(config, classes))
    for name, text in native.pop(FILES).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "config.json").write_text(json.dumps(native))
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    stock = transformers.AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    extract = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert list(stock.config.id2label.values()) == classes
    for samples in LENGTHS:
        inputs = extract(clip(samples).samples, sampling_rate=RATE, return_tensors="pt")
        inputs.pop("attention_mask", None)
        own = StagedBackbone(FAMILY, net).logits(batch(config, [samples]))
        torch.testing.assert_close(stock(**inputs).logits, own, rtol=0, atol=1e-5)
    assert FAMILY.claims(native) and FAMILY.classes(native) == tuple(classes)
    again = FAMILY.preprocessor({**native, FILES: FAMILY.native_config(config, classes)[FILES]})
    assert again.config() == FAMILY.preprocessor(config).config()


PRETRAINED = {
    "wav2vec2": "Wav2Vec2ForCTC", "wav2vec2-base": "Wav2Vec2Model", "hubert": "HubertModel",
    "wavlm": "WavLMModel", "whisper": "WhisperForConditionalGeneration", "spectrogram": "ASTModel",
}  # fmt: skip


@every_kind
@torch.no_grad()
def test_a_checkpoint_of_another_task_is_a_source(kind):
    """Features are the mean of the encoder's own states, or its pooled output."""
    config = EXAMPLES[kind]
    declared = {k: v for k, v in config.items() if k not in (FILES, "model_type")}
    if kind == "whisper":
        declared |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8,
                  "vocab_size": 30, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
                  "decoder_start_token_id": 1}  # fmt: skip
    torch.manual_seed(3)
    parsed = transformers.CONFIG_MAPPING[config["model_type"]](**declared)
    stock = getattr(transformers, PRETRAINED[kind])(parsed).eval()
    for parameter in stock.parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape))
    old_names = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in stock.state_dict().items()
    }
    net = seeded(config)
    missing, unexpected = net.load_state_dict(FAMILY.convert(old_names, config), strict=False)
    head = FAMILY.head(net)
    assert set(missing) == {f"{head}.weight", f"{head}.bias"} and unexpected == []
    activations = batch(config, [4_000])
    features = StagedBackbone(FAMILY, net).run(activations)["features"]
    activations.pop("attention_mask", None)
    encoder = stock
    if kind == "whisper":
        encoder = stock.get_encoder()
    elif hasattr(stock, "wav2vec2"):
        encoder = stock.wav2vec2
    output = encoder(**activations)
    if kind == "spectrogram":
        expected = torch.nn.functional.layer_norm(output.pooler_output, (16,))
    else:
        expected = output.last_hidden_state.mean(dim=1)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "changes", "thing"),
    [
        ("wav2vec2", {"use_weighted_layer_sum": True}, "use_weighted_layer_sum"),
        ("wav2vec2", {"add_adapter": True}, "add_adapter"),
        ("wav2vec2", {"auto_map": {"AutoModel": "code.Net"}}, "auto_map"),
        ("wav2vec2", {"is_encoder_decoder": True}, "is_encoder_decoder"),
        ("wav2vec2", {"feat_extract_norm": "none"}, "config.json"),
        ("whisper", {"activation_function": "evil"}, "activation_function"),
        ("hubert", {"num_attention_heads": 5}, "config.json"),
        ("spectrogram", {"max_length": 64}, "preprocessor_config.json"),
        ("whisper", {"num_mel_bins": 80}, "preprocessor_config.json"),
    ],
)
def test_a_wrong_config_is_one_clear_error(kind, changes, thing):
    with pytest.raises(DataError) as caught:
        FAMILY.build({**EXAMPLES[kind], **changes}, 2)
        FAMILY.preprocessor({**EXAMPLES[kind], **changes})
    assert caught.value.thing == thing and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, "the source has no preprocessor_config.json"),
        ('{"sampling_rate": "fast"}', "'sampling_rate' is 'fast'"),
        ('{"feature_extractor_type": "ASTFeatureExtractor"}', "expected Wav2Vec2FeatureExtractor"),
        ('{"auto_map": {"AutoFeatureExtractor": "x.Y"}}', "never runs"),
    ],
)
def test_a_wrong_feature_extractor_is_one_clear_error(written, message):
    files = {} if written is None else {"preprocessor_config.json": written}
    with pytest.raises(DataError, match=message):
        FAMILY.preprocessor({**EXAMPLES["wav2vec2"], FILES: files})


def test_a_mask_stays_within_the_clip():
    """Whisper's input is half a minute, and a word the first half second of it."""
    config = EXAMPLES["whisper"]
    plain = FAMILY.preprocessor(config)(clip(4_000), rng=None)["input_features"]
    prepare = FAMILY.preprocessor(config, augment="rand")
    end = 1 + 4_000 // 160
    for seed in range(20):
        varied = prepare(clip(4_000), rng=np.random.default_rng(seed))["input_features"]
        silence = plain[:, end + 2 :]
        assert varied.shape == plain.shape and varied.isfinite().all()
        assert torch.equal(varied[:, end + 2 :] - varied[:, -1:], torch.zeros_like(silence))
