"""What parameter files of replay methods say of networks: their layers, and encoders of images."""

from typing import Any

from digideep.parameters.checks import require, shown
from digideep.parameters.component import Component, Description, describe, parameters_of
from digideep.policy.networks import EnsemblePerceptron
from digideep.policy.normalized_networks import BatchRenormPerceptron, LayerNormPerceptron, Simba
from digideep.utility.errors import UsageError
from params import shared

_NETWORKS: dict[str, Description | None] = {
    "mlp": None,  # what the policy's class has
    "layer_norm": describe(LayerNormPerceptron),
    "batch_renorm": describe(BatchRenormPerceptron),
    "simba": describe(Simba),
}


def critic_panel() -> shared.Panel:
    """Return the keys of the control panels of methods whose critics may differ from the actor."""
    return {
        "num_critics": 2,
        "num_target_critics": None,  # of which each target takes the least; null for all
        "policy_delay": 1,  # gradient steps of the critics to one of the actor
        "critic_hidden_sizes": None,  # null for hidden_sizes
        "critic_network": None,  # null for network
        "dropout": 0.0,  # of the critics, with layer_norm
    }


def recurrence_panel() -> shared.Panel:
    """Return the keys of the control panels of replay methods whose policy may remember, see docs/recurrence.md."""
    return {
        "recurrent": False,  # the policy remembers, and learns from sequences
        "cell": "gru",  # or lstm
        "core_size": 64,  # units of the cell; SAC has two of them, one for the actor and one for the critics
        # Kapturowski et al. 2019, Section 3, have 80 rows with a burn-in of half as many, for Atari
        "sequence_length": 16,  # rows of a sequence, which is how far gradients reach back; divides batch_size
        "burn_in": 8,  # rows before them that only warm the state up
    }


def describe_policy(
    cpanel: shared.Panel, cls: type[Component], recurrent: type[Component] | None = None, **parameters: Any
) -> Description:
    """Describe the policy of a replay method by the panel's keys, see `shared.describe_from`.

    Args:
        cpanel: the control panel.
        cls: the policy.
        recurrent: the one that remembers, if there is one.
        parameters: further ones.

    Raises:
        UsageError: for networks that do not exist.
    """
    is_recurrent = cpanel.get("recurrent", False)
    if is_recurrent and recurrent is None:
        others = "PPO, A2C, DQN, QR-DQN, SAC, TQC and CrossQ can remember"
        raise UsageError(f"recurrent must be false with this method, got {shown(is_recurrent)}: {others}.")
    name, dropout = cpanel["network"], 0.0
    of_critics, key = name, "network"
    if "critic_network" in parameters_of(cls):
        dropout = cpanel.get("dropout", 0.0)
        if cpanel.get("critic_network") is not None:
            of_critics, key = cpanel["critic_network"], "critic_network"
    for each, value in (("network", name), (key, of_critics)):
        require(isinstance(value, str) and value in _NETWORKS, each, value, f"one of {', '.join(_NETWORKS)}")
    has_targets = cpanel.get("polyak_factor", 0.0) is not None
    require(has_targets or of_critics != "mlp", key, of_critics, "batch_renorm, layer_norm or simba without targets")
    is_single = "batch_renorm" in (name, of_critics) and cpanel.get("batch_size") == 1
    require(not is_single, "batch_size", 1, "at least 2 with batch_renorm, which normalises over the batch")
    require(not dropout or of_critics == "layer_norm", "dropout", dropout, "0 unless critic_network is layer_norm")
    critic = describe(LayerNormPerceptron, dropout=dropout) if dropout else _NETWORKS[of_critics]
    if critic is None and name != "mlp":
        critic = describe(EnsemblePerceptron)
    networks = {"network": _NETWORKS[name], "critic_network": critic}
    # A panel that says false may have the keys of both.
    described = [
        shared.describe_from(
            cpanel, each, **shared.encoder_parameters(cpanel), **parameters,
            **{key: value for key, value in networks.items() if key in parameters_of(each)},
        )
        for each in (cls, recurrent) if each is not None
    ]  # fmt: skip
    return described[-1 if is_recurrent else 0]
