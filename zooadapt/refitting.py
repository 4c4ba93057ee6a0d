"""The refit: a model that was chosen and measured on held-out samples learns these, too."""

from __future__ import annotations

from collections.abc import Callable

from zooadapt import averaging, head, processes
from zooadapt.chain import Chain
from zooadapt.strategy import Choice
from zooadapt.training import Training
from zooadapt.wording import counted


def refit(
    chain: Chain,
    training: Callable[[], Training],
    epochs: int,
    *,
    temperature: float,
    before: float,
    after: Callable[[], float],
) -> tuple[bool, Choice]:
    """Train on over all samples; whether the chain is left so, and that as a choice. It is left as
    it was where the time was over first, or where it would be less accurate on the held-out samples
    than before it had learned them.

    training: one of so many epochs; temperature: what the head's logits were divided by; before and
    after: accuracy on the held-out samples, -inf of a network whose answers are not finite.
    """
    chosen = averaging.copy(chain.net)
    head.rescale(chain.head, temperature)
    in_time = training().refit()
    head.rescale(chain.head, 1 / temperature)
    accuracy = after()
    learned = in_time and processes.decided(lambda: accuracy >= before)
    value = f"{counted(epochs, 'more epoch')} on all samples"
    if not learned:
        chain.net.load_state_dict(chosen)
        cause = "it made the model worse" if in_time else "the budget was spent"
        value = f"discarded, {cause}: the model from before it is exported"
    why = f"accuracy {before:.3f} on the held-out samples before it, {max(accuracy, 0):.3f} after"
    return learned, Choice(what="refit", value=value, why=why)
