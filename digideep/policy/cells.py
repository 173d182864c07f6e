"""GRU and LSTM over whole sequences, whose states can be zeroed in the middle.

torch's own recurrent layers cannot zero a state within a sequence, and a loop over torch's cells costs three times as
much: its backward pass records each operation of each step. So the steps are taken here, and their gradients are
written out: all that does not depend on the step after is computed for the whole sequence at once. The tests compare
outputs and gradients with torch.nn.GRUCell and torch.nn.LSTMCell.

Shapes: T steps, K networks side by side, S sequences, H units. The arrays are time first.
"""

from typing import Any

import torch
from torch import Tensor, nn

from digideep.parameters.checks import require_int
from digideep.policy.distributions import require_room
from digideep.utility.errors import UsageError

# The compiler takes an operator as one call, where it would unroll a loop for minutes.
_operator: Any = torch.library.custom_op


def _gru_forward(
    x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `_GRU.forward`. Returns: outputs, and what the backward pass needs."""
    steps, networks, sequences, width = x.shape
    size = width // 3
    outputs, before, rz, candidates, recurrent = (
        x.new_empty(steps, networks, sequences, n) for n in (size, size, 2 * size, size, size)
    )
    x_rz, x_n = x.split((2 * size, size), -1)
    weight_rz, weight_n = (part.contiguous() for part in weight.split((2 * size, size), -1))
    for x_rz_t, x_n_t, keep_t, h_t, before_t, rz_t, n_t, recurrent_t in zip(
        *(a.unbind() for a in (x_rz, x_n, keep, outputs, before, rz, candidates, recurrent)), strict=True
    ):
        torch.mul(h, keep_t, out=before_t)
        torch.baddbmm(x_rz_t, before_t, weight_rz, out=rz_t).sigmoid_()
        r, z = rz_t.split(size, -1)
        torch.baddbmm(bias, before_t, weight_n, out=recurrent_t)
        torch.addcmul(x_n_t, r, recurrent_t, out=n_t).tanh_()
        torch.lerp(n_t, before_t, z, out=h_t)  # (1 - z) n + z h
        h = h_t
    return outputs, before, rz, candidates, recurrent


def _gru_backward(
    grad: Tensor, weight: Tensor, keep: Tensor, before: Tensor, rz: Tensor, candidates: Tensor, recurrent: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, h, weight and bias, of the outputs' gradient (T, K, S, H)."""
    _, networks, sequences, size = grad.shape
    r, z = rz.split(size, -1)
    slope_n = (1 - z) * (1 - candidates * candidates)
    # Of the gates' recurrent part by the output, step by step: r, z, n.
    slopes = torch.stack(
        [slope_n * recurrent * r * (1 - r), (before - candidates) * z * (1 - z), slope_n * r], -2
    )  # (T, K, S, 3, H)
    gates, output = torch.empty_like(slopes), torch.empty_like(grad)
    flat, transposed = gates.flatten(-2), weight.transpose(-1, -2).contiguous()
    carry = grad.new_zeros(networks, sequences, size)
    arrays = (grad, slopes, z, keep, gates, flat, output)
    for grad_t, slopes_t, z_t, keep_t, gates_t, flat_t, output_t in zip(
        *(reversed(a.unbind()) for a in arrays), strict=True
    ):
        torch.add(grad_t, carry, out=output_t)
        torch.mul(slopes_t, output_t.unsqueeze(-2), out=gates_t)
        carry = torch.baddbmm(output_t * z_t, flat_t, transposed).mul_(keep_t)
    grad_x = torch.cat([flat[..., : 2 * size], output * slope_n], -1)
    grad_weight, gates_of_all = _weight_gradient(before, flat)
    return grad_x, carry, grad_weight, gates_of_all[..., 2 * size :].sum(1, keepdim=True)


def _lstm_forward(
    x: Tensor, h: Tensor, c: Tensor, weight: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `_LSTM.forward`. Returns: outputs, cells, and what the backward pass needs."""
    steps, networks, sequences, width = x.shape
    size = width // 4
    outputs, cells, before, cells_before = (x.new_empty(steps, networks, sequences, size) for _ in range(4))
    gates = torch.empty_like(x)
    for x_t, keep_t, h_t, c_t, before_t, cell_t, gates_t in zip(
        *(a.unbind() for a in (x, keep, outputs, cells, before, cells_before, gates)), strict=True
    ):
        torch.mul(h, keep_t, out=before_t)
        torch.mul(c, keep_t, out=cell_t)
        torch.baddbmm(x_t, before_t, weight, out=gates_t)
        ifo, g = gates_t.split((3 * size, size), -1)
        i, f, o = ifo.sigmoid_().split(size, -1)
        torch.mul(f, cell_t, out=c_t).addcmul_(i, g.tanh_())
        torch.tanh(c_t, out=h_t).mul_(o)
        h, c = h_t, c_t
    return outputs, cells, before, cells_before, gates


def _lstm_backward(
    grad: Tensor, weight: Tensor, keep: Tensor, cells: Tensor, before: Tensor, cells_before: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, h, c and weight, of the outputs' gradient (T, K, S, H)."""
    _, networks, sequences, size = grad.shape
    i, f, o, g = gates.split(size, -1)
    tanh = cells.tanh()
    cell_slope = o * (1 - tanh * tanh)  # of the cell by the output
    slopes = torch.stack([g * i * (1 - i), cells_before * f * (1 - f), i * (1 - g * g)], -2)  # i, f, g by the cell
    output_slope = tanh * o * (1 - o)
    grad_x = torch.empty_like(gates)
    # The order of the gates is i, f, o, g; o alone depends on the output, not on the cell.
    transposed = weight.transpose(-1, -2).contiguous()
    carry_h, carry_c = (grad.new_zeros(networks, sequences, size) for _ in range(2))
    arrays = (grad, slopes, cell_slope, output_slope, f, keep, grad_x)
    for grad_t, slopes_t, cell_slope_t, output_slope_t, f_t, keep_t, grad_x_t in zip(
        *(reversed(a.unbind()) for a in arrays), strict=True
    ):
        output = grad_t + carry_h
        carry_c.addcmul_(output, cell_slope_t)
        parts = grad_x_t.unflatten(-1, (4, size))
        torch.mul(slopes_t[..., :2, :], carry_c.unsqueeze(-2), out=parts[..., :2, :])
        torch.mul(output, output_slope_t, out=parts[..., 2, :])
        torch.mul(slopes_t[..., 2, :], carry_c, out=parts[..., 3, :])
        carry_h = torch.bmm(grad_x_t, transposed).mul_(keep_t)
        carry_c.mul_(f_t).mul_(keep_t)
    return grad_x, carry_h, carry_c, _weight_gradient(before, grad_x)[0]


def _weight_gradient(before: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """One product over all steps and sequences. Returns: it, and the gates' gradients as (K, T * S, G)."""
    before, gates = (array.transpose(0, 1).flatten(1, 2) for array in (before, gates))
    return before.transpose(-1, -2) @ gates, gates


_gru_forward_operator = _operator("digideep::gru_forward", _gru_forward, mutates_args=())
_gru_backward_operator = _operator("digideep::gru_backward", _gru_backward, mutates_args=())
_lstm_forward_operator = _operator("digideep::lstm_forward", _lstm_forward, mutates_args=())
_lstm_backward_operator = _operator("digideep::lstm_backward", _lstm_backward, mutates_args=())


@_gru_forward_operator.register_fake
def _(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, keep: Tensor) -> tuple[Tensor, ...]:
    size = x.shape[-1] // 3
    return tuple(x.new_empty(*x.shape[:3], n) for n in (size, size, 2 * size, size, size))


@_gru_backward_operator.register_fake
def _(grad: Tensor, weight: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    x = grad.new_empty(*grad.shape[:3], weight.shape[-1])
    return x, grad.new_empty(grad.shape[1:]), torch.empty_like(weight), weight.new_empty(len(weight), 1, grad.shape[-1])


@_lstm_forward_operator.register_fake
def _(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, keep: Tensor) -> tuple[Tensor, ...]:
    size = x.shape[-1] // 4
    return tuple(x.new_empty(*x.shape[:3], n) for n in (size, size, size, size, 4 * size))


@_lstm_backward_operator.register_fake
def _(grad: Tensor, weight: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    x, state = grad.new_empty(*grad.shape[:3], weight.shape[-1]), grad.new_empty(grad.shape[1:])
    return x, state, torch.empty_like(state), torch.empty_like(weight)


class _GRU(torch.autograd.Function):
    """x, h, weight, bias, keep -> outputs (T, K, S, H), and what the backward pass needs."""

    @staticmethod
    def forward(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, keep: Tensor) -> Any:
        run = _gru_forward_operator if torch.compiler.is_compiling() else _gru_forward
        return run(x, h, weight, bias, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[2], inputs[4], *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        run = _gru_backward_operator if torch.compiler.is_compiling() else _gru_backward
        return *run(grad.contiguous(), *ctx.saved_tensors), None


class _LSTM(torch.autograd.Function):
    """x, h, c, weight, keep -> outputs and cells (T, K, S, H), and what the backward pass needs.

    No gradient flows through the returned cells: they are where the next sequence begins.
    """

    @staticmethod
    def forward(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, keep: Tensor) -> Any:
        run = _lstm_forward_operator if torch.compiler.is_compiling() else _lstm_forward
        return run(x, h, c, weight, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[3], inputs[4], *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        run = _lstm_backward_operator if torch.compiler.is_compiling() else _lstm_backward
        return *run(grad.contiguous(), *ctx.saved_tensors), None


class Core(nn.Module):
    """`num` recurrent layers side by side; a subclass says how they step.

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
        x = gates.unflatten(1, (sequences, steps)).permute(2, 0, 1, 3).contiguous()  # (T, K, S, G)
        parts = state.unflatten(1, (self.num_parts, self.num, self.size)).permute(1, 2, 0, 3).contiguous()
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
        """The equations of one step.

        Args:
            gates: float32 (K, S, G), what the input contributes to the gates.
            before: float32 (num_parts, K, S, H), the state.

        Returns:
            The parts of the state after it, each (K, S, H); the first one is the output.
        """
        raise NotImplementedError

    def walk(self, x: Tensor, parts: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """The steps.

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
        outputs, *_ = _GRU.apply(x, parts[0], self.weight, self.bias, keep)
        return outputs, outputs[-1:]

    def cell(self, gates: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """See `Core`."""
        h, sizes = before[0], (2 * self.size, self.size)
        (x_rz, x_n), (weight_rz, weight_n) = gates.split(sizes, -1), self.weight.split(sizes, -1)
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
        outputs, cells, *_ = _LSTM.apply(x, parts[0], parts[1], self.weight, keep)
        return outputs, torch.stack([outputs[-1], cells[-1]])

    def cell(self, gates: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """See `Core`."""
        h, c = before.unbind()
        i, f, o, g = torch.baddbmm(gates, h, self.weight).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


CELLS: dict[str, type[Core]] = {"gru": GRUCore, "lstm": LSTMCore}


def make_core(cell: str, num: int, in_features: int, size: int, generator: torch.Generator) -> Core:
    """The core that `cell` names.

    Raises:
        UsageError: for another name or a size below 1.
    """
    if cell not in CELLS:
        raise UsageError(f"cell must be one of {', '.join(CELLS)}, got {cell!r}.")
    return CELLS[cell](num, in_features, size, generator)


def _gate_weights(num: int, gates: int, in_features: int, size: int, generator: torch.Generator) -> nn.Parameter:
    """Orthogonal weights of each gate of each network: (num, in_features, gates * size)."""
    require_room(num * gates * size * in_features)
    weight = torch.empty(num, gates, size, in_features)
    for matrix in weight.flatten(0, 1):
        nn.init.orthogonal_(matrix, generator=generator)
    return nn.Parameter(weight.flatten(1, 2).transpose(-1, -2).contiguous())
