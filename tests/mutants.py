"""Families that break one clause each: the guide's plugin and the generated text plugin, with one
fault. `fails` names the check that has to fail. Importing this module imports torch, which breaks
a clause too."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from zooadapt_rnn import RnnFamily
from zooadapt_tiles import TilesFamily
from zooadapt_words import WordsFamily

from zooadapt.family import Modality, Stage, Variant


class TorchAtImport(TilesFamily):
    fails = "check_importing_it_is_light"


class LoudName(TilesFamily):
    fails = "check_it_declares_itself"
    library = "My Library"


class NothingToImport(TilesFamily):
    fails = "check_it_declares_itself"
    imports = ("zooadapt_tiles.netwrok",)


class Misspelt(TilesFamily):
    fails = "check_nothing_is_misspelt"

    def native_states(self, state, config):
        return state


class WordyLicence(TilesFamily):
    fails = "check_variants_are_sources"

    def variants(self):
        return (Variant(source="org/tiles", license="Apache 2.0"),)


class Greedy(TilesFamily):
    fails = "check_it_claims_its_own_alone"

    def claims(self, config):
        return "model_type" in config


class Poacher(TilesFamily):
    """Claims configs of another installed plugin too."""

    fails = "check_it_claims_its_own_alone"

    def claims(self, config):
        return config.get("model_type") in ("tiles", "words")


class Renamed(Greedy):
    """Greedy under a name of its own, to be installed as one more plugin."""

    name = "greedy"

    def examples(self):
        return {"colour": super().examples()["colour"]}


class Trusting(TilesFamily):
    fails = "check_wrong_configs_are_named"

    def build(self, config, num_classes):
        from zooadapt_tiles.network import Tiles

        return Tiles(config["channels"], config["widths"], 0.1, num_classes).eval()


class InTrainMode(TilesFamily):
    fails = "check_it_builds_a_network"

    def build(self, config, num_classes):
        return super().build(config, num_classes).train()


class Unseeded(TilesFamily):
    fails = "check_it_builds_a_network"

    def build(self, config, num_classes):
        net = super().build(config, num_classes)
        random = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
        with torch.no_grad():
            net.blocks[0].conv.weight += torch.randn(net.blocks[0].conv.weight.shape,
                                                     generator=random)  # fmt: skip
        return net


class Rewired(TilesFamily):
    """`spoil` replaces its stages."""

    def stages(self, net):
        return self.spoil(net, list(super().stages(net)))


def replaced(stage, **changes):
    return Stage(**{"name": stage.name, "run": stage.run, "owns": stage.owns, **changes})


class Unowned(Rewired):
    fails = "check_stages_share_out_the_state"

    def spoil(self, net, stages):
        stages[1] = replaced(stages[1], owns=("blocks.1.conv",))
        return stages


class OwnedTwice(Rewired):
    fails = "check_stages_share_out_the_state"

    def spoil(self, net, stages):
        stages[-1] = replaced(stages[-1], owns=("blocks.0",))
        return stages


class NoRows(Rewired):
    fails = "check_carries_are_batches"

    def spoil(self, net, stages):
        first = stages[0].run
        stages[0] = replaced(
            stages[0], run=lambda inputs: {**first(inputs), "scale": torch.ones(())}
        )
        return stages


class Unpooled(Rewired):
    fails = "check_carries_are_batches"

    def spoil(self, net, stages):
        stages[-1] = replaced(stages[-1], run=lambda activations: {"features": activations["x"]})
        return stages


class DeepHead(TilesFamily):
    fails = "check_its_head_is_linear"

    def head(self, net):
        return "blocks.0"


class FixedHead(TilesFamily):
    fails = "check_its_head_is_linear"

    def build(self, config, num_classes):
        return super().build(config, max(2, num_classes))


class Crashing(Rewired):
    """Its second stage gives the network's block too few channels. Fails many checks."""

    def spoil(self, net, stages):
        stages[1] = replaced(stages[1], run=lambda inputs: {"x": net.blocks[1](inputs["x"][:, :3])})
        return stages


class Unreadable(TilesFamily):
    """Its preprocessor cannot be built."""

    def preprocessor(self, config, *, augment="none"):
        return {}["scale"]


class PooledByMax(Rewired):
    fails = "check_the_chain_is_the_network"

    def spoil(self, net, stages):
        stages[-1] = replaced(stages[-1], run=lambda inputs: {"features": inputs["x"].amax((2, 3))})
        return stages


class NoDropout(Rewired):
    fails = "check_the_chain_is_the_network_in_training"

    def spoil(self, net, stages):
        block = net.blocks[0]
        stages[0] = replaced(
            stages[0], run=lambda inputs: {"x": torch.relu(block.norm(block.conv(inputs["x"])))}
        )
        return stages


class NormTwice(Rewired):
    fails = "check_the_chain_is_the_network_in_training"

    def spoil(self, net, stages):
        first = stages[0].run

        def run(activations):
            net.blocks[0].norm(net.blocks[0].conv(activations["x"]))
            return first(activations)

        stages[0] = replaced(stages[0], run=run)
        return stages


class BesideTheActivations(Rewired):
    """The second stage passes a value to the third outside of the activations."""

    fails = "check_a_carry_is_all_there_is"

    def spoil(self, net, stages):
        second, third, hidden = stages[1].run, stages[2].run, {}

        def run_second(activations):
            output = second(activations)
            hidden["mean"] = output["x"].mean((1, 2, 3), keepdim=True)
            return output

        def run_third(activations):
            return third({"x": activations["x"] + hidden["mean"]})

        stages[1] = replaced(stages[1], run=run_second)
        stages[2] = replaced(stages[2], run=run_third)
        return stages


class RunsAhead(Rewired):
    fails = "check_stages_use_what_they_own"

    def spoil(self, net, stages):
        first = stages[0].run

        def run(activations):
            output = first(activations)
            net.blocks[1](output["x"])
            return output

        stages[0] = replaced(stages[0], run=run)
        return stages


class ReadsAhead(Rewired):
    """Reads a later stage's weight without calling its module."""

    fails = "check_stages_use_what_they_own"

    def spoil(self, net, stages):
        first = stages[0].run
        stages[0] = replaced(
            stages[0],
            run=lambda activations: {
                "x": first(activations)["x"] * net.blocks[1].norm.weight.mean()
            },
        )
        return stages


class InPlace(Rewired):
    fails = "check_stages_leave_their_input_alone"

    def spoil(self, net, stages):
        first = stages[0].run
        stages[0] = replaced(stages[0], run=lambda inputs: first({"x": inputs["x"].mul_(0.5)}))
        return stages


class Noisy(Rewired):
    fails = "check_evaluation_is_repeatable"

    def spoil(self, net, stages):
        first = stages[0].run
        stages[0] = replaced(
            stages[0], run=lambda inputs: first({"x": inputs["x"] + torch.rand(())})
        )
        return stages


class Counting(Rewired):
    fails = "check_evaluation_is_repeatable"

    def spoil(self, net, stages):
        first = stages[0].run

        def run(activations):
            net.blocks[0].norm.num_batches_tracked += 1
            return first(activations)

        stages[0] = replaced(stages[0], run=run)
        return stages


class Sociable(Rewired):
    """Features are centred over the batch."""

    fails = "check_batching_changes_nothing"

    def spoil(self, net, stages):
        last = stages[-1].run

        def run(activations):
            features = last(activations)["features"]
            return {"features": features - features.mean(0)}

        stages[-1] = replaced(stages[-1], run=run)
        return stages


class PaddingLeak(WordsFamily):
    """The mean is over all positions, padded ones included."""

    fails = "check_padding_changes_nothing"

    def stages(self, net):
        *stages, pool = super().stages(net)
        leak = replaced(
            pool, run=lambda activations: {"features": activations["states"].mean(dim=1)}
        )
        return (*stages, leak)


class LeakyNorm(Rewired):
    """Owns the norm's tensors one by one, so that no stage puts the norm into eval mode."""

    fails = "check_the_frozen_stays"

    def spoil(self, net, stages):
        names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        owns = ("blocks.0.conv", *(f"blocks.0.norm.{name}" for name in names))
        stages[0] = replaced(stages[0], owns=owns)
        return stages


class UnownedDropout(Rewired):
    fails = "check_the_frozen_runs_as_in_evaluation"

    def spoil(self, net, stages):
        stages[0] = replaced(stages[0], owns=("blocks.0.conv", "blocks.0.norm"))
        return stages


class DropoutByTheNetwork(Rewired):
    fails = "check_the_frozen_runs_as_in_evaluation"

    def spoil(self, net, stages):
        first = stages[0].run

        def run(activations):
            return {"x": nn.functional.dropout(first(activations)["x"], training=net.training)}

        stages[0] = replaced(stages[0], run=run)
        return stages


class Detached(Rewired):
    fails = "check_the_rest_is_trained"

    def spoil(self, net, stages):
        last = stages[-1].run
        stages[-1] = replaced(
            stages[-1], run=lambda inputs: {"features": last(inputs)["features"].detach()}
        )
        return stages


class Reprocessed(TilesFamily):
    """`spoil` replaces methods of its preprocessor."""

    def preprocessor(self, config, *, augment="none"):
        return self.spoil(super().preprocessor(config, augment=augment), config)


class GlobalRandom(Reprocessed):
    fails = "check_preprocessing_is_a_function"

    def spoil(self, inner, config):
        return Changed(inner, call=lambda raw, rng: {
            "x": inner(raw, rng=rng)["x"] + float(np.random.rand())})  # fmt: skip


class SpoilsRaws(Reprocessed):
    fails = "check_preprocessing_is_a_function"

    def spoil(self, inner, config):
        def call(raw, rng):
            sample = inner(raw, rng=rng)
            raw.putpixel((0, 0), 7)
            return sample

        return Changed(inner, call=call)


class AnySize(Reprocessed):
    fails = "check_samples_fit_together"

    def spoil(self, inner, config):
        def call(raw, rng):
            x = inner(raw, rng=rng)["x"]
            return {"x": x if min(raw.size) > 39 else x[:, :16]}

        return Changed(inner, call=call)


class Unwritten(Reprocessed):
    """Reads a key that `native_config` does not write."""

    fails = "check_preprocessing_is_written_down"

    def examples(self):
        return {"small": {**super().examples()["colour"], "scale": 3.0}}

    def spoil(self, inner, config):
        return Changed(inner, call=lambda raw, rng: {
            "x": inner(raw, rng=rng)["x"] * config.get("scale", 1.0)})  # fmt: skip


class MisspeltCount(Reprocessed):
    fails = "check_nothing_is_misspelt"

    def spoil(self, inner, config):
        return Counts(inner)


class Speechless(Reprocessed):
    fails = "check_preprocessing_is_written_down"

    def spoil(self, inner, config):
        return Changed(inner, config={"input_size": [3, 32, 32], "scale": "-1 to 1"})


class Silent(Reprocessed):
    fails = "check_preprocessing_is_written_down"

    def spoil(self, inner, config):
        inner.config = dict
        return inner


class TupleConfig(Reprocessed):
    fails = "check_preprocessing_is_written_down"

    def spoil(self, inner, config):
        return Changed(inner, config={"input_size": (3, 32, 32)})


class Changed:
    def __init__(self, inner, *, call=None, config=None):
        self.min_side = inner.min_side
        self.collate = inner.collate
        self._call = call or (lambda raw, rng: inner(raw, rng=rng))
        self._config = config or inner.config()

    def __call__(self, raw, *, rng):
        return self._call(raw, rng)

    def config(self):
        return self._config


class Counts(Changed):
    def unknown(self, raw):
        return 0, 1


class Alphabetical(TilesFamily):
    fails = "check_native_config_is_claimed"

    def native_config(self, config, classes):
        return super().native_config(config, sorted(classes))


class Renaming(TilesFamily):
    fails = "check_native_names_are_kept"

    def convert(self, state, config):
        return {name.replace("head", "classifier"): t for name, t in state.items()}


class Rounding(TilesFamily):
    fails = "check_native_names_are_kept"

    def convert(self, state, config):
        half = {n: t.bfloat16().float() for n, t in state.items() if t.is_floating_point()}
        return {**state, **half}


class OneWay(TilesFamily):
    """It cannot read the names of its own exports."""

    fails = "check_native_names_are_kept"

    def native_state(self, state, config):
        return {f"net.{name}": tensor for name, tensor in state.items()}


class NewHead(TilesFamily):
    fails = "check_known_classes_keep_their_rows"

    def convert(self, state, config):
        return {n: t for n, t in super().convert(state, config).items() if n != "head.weight"}


class Wordy(TilesFamily):
    fails = "check_the_card_can_say_how_to_load_it"

    def usage(self, config, place, *, on_hub=False):
        return f"Load it from {place}."


class Placeless(TilesFamily):
    fails = "check_the_card_can_say_how_to_load_it"

    def usage(self, config, place, *, on_hub=False):
        return "import tiles"


class HiddenState(TilesFamily):
    """Part of the state that it computes with is not in `state_dict()`."""

    fails = "check_an_export_loads_in_a_clean_process"

    def build(self, config, num_classes):
        net = super().build(config, num_classes)
        net.blocks[0].norm.eps = 1 / os.getpid()
        return net


class UnsavedDraw(TilesFamily):
    """Has a random buffer, a function of the seed, that is not saved."""

    fails = "check_an_export_loads_in_a_clean_process"

    def build(self, config, num_classes):
        net = super().build(config, num_classes)
        net.blocks[0].register_buffer("scale", torch.rand(()) + 0.5, persistent=False)
        net.blocks[0].register_forward_hook(lambda block, _, output: output * block.scale)
        return net


class ReadsFiles(TilesFamily):
    fails = "check_an_export_loads_in_a_clean_process"

    def build(self, config, num_classes):
        with open(os.devnull):
            return super().build(config, num_classes)


class OneSize(TilesFamily):
    fails = "check_other_input_sizes"

    def with_input(self, config, *, size=None, channels=None):
        return super().with_input(config, channels=channels)


class ColourOnly(TilesFamily):
    fails = "check_other_channel_counts"

    def convert(self, state, config):
        return dict(state)


class OneCrop(TilesFamily):
    fails = "check_other_crops"
    can = replace(TilesFamily.can, crop=True)

    def with_crop(self, config, *, crop):
        return dict(config)


class Foresees(RnnFamily):
    """Each state depends on the mean of the whole text."""

    fails = "check_it_is_a_language_model"

    def stages(self, net):
        stages = list(super().stages(net))
        run = stages[0].run

        def blend(activations):
            output = run(activations)
            return {**output, "states": output["states"] + output["states"].mean(1, keepdim=True)}

        stages[0] = replaced(stages[0], run=blend)
        return stages


class Pooled(RnnFamily):
    fails = "check_it_is_a_language_model"

    def language(self, config):
        return replace(super().language(config), stage="pooling", states="features")


class CutsShort(RnnFamily):
    fails = "check_it_is_a_language_model"

    def language(self, config):
        language = super().language(config)
        return replace(language, encode=lambda text: language.encode(text)[:256])


class Misspells(RnnFamily):
    fails = "check_it_is_a_language_model"

    def language(self, config):
        language = super().language(config)
        return replace(language, alphabet=(b"?", *language.alphabet[:-1]))


class Resamples(RnnFamily):
    fails = "check_it_is_a_language_model"

    def language(self, config):
        language = super().language(config)
        return replace(language, sample=lambda symbols: language.sample(list(symbols)[::-1]))


class PoolsUnseen(WordsFamily):
    """Names two ways to pool that no module of the network shows."""

    fails = "check_poolings_are_distinguished"

    def poolings(self, config):
        return {"mean": config, "maximum": {**config, "pooling": "max"}}


class Sideways(TilesFamily):
    """Says that channels are where the rows of the image are."""

    fails = "check_channels_are_where_stages_say"

    def stages(self, net):
        return [replaced(stage, channels=2) for stage in super().stages(net)]


class Unsteady(Modality):
    """Samples without regard to the seed, whose kinds of faults are not told."""

    api = 1
    name = "unsteady"
    noun, plural = "number", "numbers"
    pipeline_tag = "tabular-classification"
    example = "zooadapt predict {model} 1.number"

    def decode(self, file, *, name, view, limits):
        return float(file.read())

    def pieces(self, raw):
        return [b"%f" % raw]

    def synthesise(self, rng, *, view):
        return os.urandom(1)[0] + float(rng.random())

    def extremes(self, *, view):
        return [0.0]


class FreshSamples(TilesFamily):
    fails = "check_raw_samples_are_a_function_of_the_seed"
    modality = "unsteady"


class FaultsOfDecoders(TilesFamily):
    fails = "check_broken_content_is_a_data_error"
    modality = "unsteady"


class Forgetful(TilesFamily):
    """Drops tensors that have no place in the network."""

    fails = "check_source_weights_fit"

    def convert(self, state, config):
        return {n: t for n, t in super().convert(state, config).items() if n != "extra"}


MUTANTS = [
    thing for thing in list(globals().values())
    if isinstance(thing, type) and "fails" in vars(thing)
]  # fmt: skip
