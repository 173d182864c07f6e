"""GRU and LSTM over whole sequences, whose states can be zeroed in the middle.

torch's own recurrent layers cannot zero a state within a sequence, and a loop over torch's cells costs three times as
much: its backward pass records each operation of each step. So `cell_passes` takes the steps and writes their gradients
out. The tests compare outputs and gradients with torch.nn.GRUCell and torch.nn.LSTMCell.

Shapes: T steps, K networks side by side, S sequences, H units. The arrays are time first.
"""

import torch
from torch import Tensor, nn

from digideep.parameters.checks import require, require_int
from digideep.policy.cell_passes import gru, lstm
from digideep.policy.distributions import require_room


class Core(nn.Module):
    """Holds `num` recurrent layers side by side; a subclass says how they step.

    The weights of each gate are orthogonal (gain 1). Biases are 0, but 1 at the gate that keeps the state: so gradients
    reach further back from the start. With 0 a GRU did not learn to remember for 20 steps within 100,000 frames of
    PPO, with 1 within 30,000. Source: Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network
    Architectures", for the LSTM.

    Args:
        num: how many networks.
        in_features: of the input.
        size: units of each network, H.
        generator: draws the weights.

    Attributes:
        state_size: numbers that a state takes, all networks together: for each part (h; of an LSTM, then c) the
            networks side by side.
    """

    num_gates: int
    num_parts: int

    def __init__(self, num: int, in_features: int, size: int, generator: torch.Generator):
        super().__init__()
        require_int("core_size", size, 1)
        self.num, self.size, self.state_size = num, size, self.num_parts * num * size
        self.weight_in = _gate_weights(num, self.num_gates, in_features, size, generator)
        self.bias_in = nn.Parameter(torch.zeros(num, 1, self.num_gates * size))
        self.bias_in.data[..., size : 2 * size] = 1.0  # the second gate keeps what was: z, or f
        self.weight = _gate_weights(num, self.num_gates, size, size, generator)

    def forward(self, features: Tensor, state: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Walk along S sequences of T rows.

        Args:
            features: float32 (K, S * T, F), the rows of a sequence one after the other.
            state: float32 (S, state_size), before the first row.
            keep: float32 (S, T), 0 where the state is zeroed before the row is consumed, else 1.

        Returns:
            Outputs, float32 (K, S * T, H), and the state after the last row, (S, state_size).
        """
        sequences, steps = keep.shape
        gates = torch.baddbmm(self.bias_in, features, self.weight_in)  # (K, S * T, G)
        x = gates.view(self.num, sequences, steps, -1).permute(2, 0, 1, 3).contiguous()  # (T, K, S, G)
        parts = state.view(sequences, self.num_parts, self.num, self.size).permute(1, 2, 0, 3).contiguous()
        outputs, after = self.walk(x, parts, keep.t()[:, None, :, None].contiguous())
        outputs = outputs.permute(1, 2, 0, 3).flatten(1, 2)
        return outputs, after.permute(2, 0, 1, 3).flatten(1)

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step of each of S sequences, by operations that any exporter knows.

        Args:
            features: float32 (K, S, F).
            state: float32 (S, state_size), before the step.

        Returns:
            Outputs, float32 (K, S, H), and the state after the step, (S, state_size).
        """
        gates = torch.baddbmm(self.bias_in, features, self.weight_in)
        before = state.reshape(-1, self.num_parts, self.num, self.size).permute(1, 2, 0, 3)
        after = torch.stack(self.cell(gates, before))
        return after[0], after.permute(2, 0, 1, 3).reshape(-1, self.state_size)

    def cell(self, gates: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """Compute the equations of one step.

        Args:
            gates: float32 (K, S, G), what the input contributes to the gates.
            before: float32 (num_parts, K, S, H), the state.

        Returns:
            The parts of the state after it, each (K, S, H); the first one is the output.
        """
        raise NotImplementedError

    def walk(self, x: Tensor, parts: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Take all steps.

        Args:
            x: float32 (T, K, S, G), what the input contributes to the gates.
            parts: float32 (num_parts, K, S, H), the state before.
            keep: float32 (T, 1, S, 1).

        Returns:
            Outputs, (T, K, S, H), and the state after, (num_parts, K, S, H).
        """
        raise NotImplementedError


class GRUCore(Core):
    """Gated recurrent units. Source: Cho et al. 2014, arXiv:1406.1078, Section 2.3; the reset after the product, as
    in torch.nn.GRU. Gates: r, z, n.
    """

    num_gates, num_parts = 3, 1

    def __init__(self, num: int, in_features: int, size: int, generator: torch.Generator):
        super().__init__(num, in_features, size, generator)
        self.bias = nn.Parameter(torch.zeros(num, 1, size))  # of the candidate's recurrent part, which r scales

    def walk(self, x: Tensor, parts: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """See `Core`."""
        outputs = gru(x, parts[0], self.weight, self.bias, keep)
        return outputs, outputs[-1:]

    def cell(self, gates: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """See `Core`."""
        h, sizes = before[0], (2 * self.size, self.size)
        (x_rz, x_n), (weight_rz, weight_n) = gates.split_with_sizes(sizes, -1), self.weight.split_with_sizes(sizes, -1)
        r, z = torch.baddbmm(x_rz, h, weight_rz).sigmoid().chunk(2, -1)
        n = torch.tanh(x_n + r * torch.baddbmm(self.bias, h, weight_n))
        return (torch.lerp(n, h, z),)


class LSTMCore(Core):
    """Long short-term memory. Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    Gates: i, f, o, g.
    """

    num_gates, num_parts = 4, 2

    def walk(self, x: Tensor, parts: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """See `Core`."""
        outputs, cells = lstm(x, parts[0], parts[1], self.weight, keep)
        return outputs, torch.stack([outputs[-1], cells[-1]])

    def cell(self, gates: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """See `Core`."""
        h, c = before.unbind()
        i, f, o, g = torch.baddbmm(gates, h, self.weight).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


CELLS: dict[str, type[Core]] = {"gru": GRUCore, "lstm": LSTMCore}


def make_core(cell: str, num: int, in_features: int, size: int, generator: torch.Generator) -> Core:
    """Build the core that `cell` names. Raises: UsageError: for another name or a size below 1."""
    require(cell in CELLS, "cell", cell, f"one of {', '.join(CELLS)}")
    return CELLS[cell](num, in_features, size, generator)


def _gate_weights(num: int, gates: int, in_features: int, size: int, generator: torch.Generator) -> nn.Parameter:
    """Draw orthogonal weights for each gate of each network: float32 (num, in_features, gates * size)."""
    require_room(num * gates * size * in_features)
    weight = torch.empty(num, gates, size, in_features)
    for matrix in weight.flatten(0, 1):
        nn.init.orthogonal_(matrix, generator=generator)
    return nn.Parameter(weight.flatten(1, 2).transpose(-1, -2).contiguous())
