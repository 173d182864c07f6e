"""Forward and backward passes of GRU and LSTM over whole sequences, and of taking rows out of them.

All that does not depend on the step after is computed for the whole sequence at once.

Shapes: T steps, K networks side by side, S sequences, H units. The arrays are time first.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# The compiler takes an operator as one call, where it would unroll a loop for minutes.
_operator: Any = torch.library.custom_op


def _gru_forward(
    x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Take the steps, see `gru`. Returns: outputs, and what the backward pass needs."""
    steps, networks, sequences, width = x.shape
    size = width // 3
    outputs, before, rz, candidates, recurrent = (
        x.new_empty(steps, networks, sequences, n) for n in (size, size, 2 * size, size, size)
    )
    x_rz, x_n = x.split_with_sizes((2 * size, size), -1)
    weight_rz, weight_n = (each.contiguous() for each in weight.split_with_sizes((2 * size, size), -1))
    for x_rz_t, x_n_t, keep_t, h_t, before_t, rz_t, n_t, recurrent_t in zip(
        *(a.unbind() for a in (x_rz, x_n, keep, outputs, before, rz, candidates, recurrent)), strict=True
    ):
        torch.mul(h, keep_t, out=before_t)
        torch.baddbmm(x_rz_t, before_t, weight_rz, out=rz_t).sigmoid_()
        r, z = rz_t.chunk(2, -1)
        torch.baddbmm(bias, before_t, weight_n, out=recurrent_t)
        torch.addcmul(x_n_t, r, recurrent_t, out=n_t).tanh_()
        torch.lerp(n_t, before_t, z, out=h_t)  # (1 - z) n + z h
        h = h_t
    return outputs, before, rz, candidates, recurrent


def _gru_backward(
    grad: Tensor, weight: Tensor, keep: Tensor, before: Tensor, rz: Tensor, candidates: Tensor, recurrent: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of x, h, weight and bias from that of the outputs, (T, K, S, H)."""
    _, networks, sequences, size = grad.shape
    r, z = rz.chunk(2, -1)
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
    """Take the steps, see `lstm`. Returns: outputs, cells, and what the backward pass needs."""
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
        ifo, g = gates_t.split_with_sizes((3 * size, size), -1)
        i, f, o = ifo.sigmoid_().chunk(3, -1)
        torch.mul(f, cell_t, out=c_t).addcmul_(i, g.tanh_())
        torch.tanh(c_t, out=h_t).mul_(o)
        h, c = h_t, c_t
    return outputs, cells, before, cells_before, gates


def _lstm_backward(
    grad: Tensor, weight: Tensor, keep: Tensor, cells: Tensor, before: Tensor, cells_before: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of x, h, c and weight from that of the outputs, (T, K, S, H)."""
    _, networks, sequences, size = grad.shape
    i, f, o, g = gates.chunk(4, -1)
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
        parts = grad_x_t.view(networks, sequences, 4, size)
        torch.mul(slopes_t[..., :2, :], carry_c.unsqueeze(-2), out=parts[..., :2, :])
        torch.mul(output, output_slope_t, out=parts[..., 2, :])
        torch.mul(slopes_t[..., 2, :], carry_c, out=parts[..., 3, :])
        carry_h = torch.bmm(grad_x_t, transposed).mul_(keep_t)
        carry_c.mul_(f_t).mul_(keep_t)
    return grad_x, carry_h, carry_c, _weight_gradient(before, grad_x)[0]


def _weight_gradient(before: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight's gradient, one product over all steps and sequences; and the gates', as (K, T * S, G)."""
    before, gates = (array.transpose(0, 1).flatten(1, 2) for array in (before, gates))
    return before.transpose(-1, -2) @ gates, gates


def _gru_forward_fake(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, keep: Tensor) -> tuple[Tensor, ...]:
    size = x.shape[-1] // 3
    return tuple(x.new_empty(*x.shape[:3], n) for n in (size, size, 2 * size, size, size))


def _gru_backward_fake(grad: Tensor, weight: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    x = grad.new_empty(*grad.shape[:3], weight.shape[-1])
    return x, grad.new_empty(grad.shape[1:]), torch.empty_like(weight), weight.new_empty(len(weight), 1, grad.shape[-1])


def _lstm_forward_fake(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, keep: Tensor) -> tuple[Tensor, ...]:
    size = x.shape[-1] // 4
    return tuple(x.new_empty(*x.shape[:3], n) for n in (size, size, size, size, 4 * size))


def _lstm_backward_fake(grad: Tensor, weight: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
    x, state = grad.new_empty(*grad.shape[:3], weight.shape[-1]), grad.new_empty(grad.shape[1:])
    return x, state, torch.empty_like(state), torch.empty_like(weight)


def _take_backward(grad: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """Compute the gradient of all rows from that of the rows that were taken, added up in their order."""
    return grad.new_zeros(num_rows, grad.shape[1]).index_add_(0, rows, grad)


def _take_backward_fake(grad: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    return grad.new_empty(num_rows, grad.shape[1])


def _dispatched(name: str, plain: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is the plain one, and an operator within compiled functions.

    Args:
        name: of the operator.
        plain: of tensors.
        fake: returns tensors of the results' shapes.
    """
    operator = _operator(f"digideep::{name}", plain, mutates_args=())
    operator.register_fake(fake)
    return lambda *tensors: (operator if torch.compiler.is_compiling() else plain)(*tensors)


_run_gru = _dispatched("gru_forward", _gru_forward, _gru_forward_fake)
_run_gru_backward = _dispatched("gru_backward", _gru_backward, _gru_backward_fake)
_run_lstm = _dispatched("lstm_forward", _lstm_forward, _lstm_forward_fake)
_run_lstm_backward = _dispatched("lstm_backward", _lstm_backward, _lstm_backward_fake)
_run_take_backward = _dispatched("take_backward", _take_backward, _take_backward_fake)


# Inputs by name: where there will be no backward pass, the compiler counts them to see that `forward` takes no context.
class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, keep: Tensor) -> Any:
        return _run_gru(x, h, weight, bias, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[2], inputs[4], *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        return *_run_gru_backward(grad.contiguous(), *ctx.saved_tensors), None


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, keep: Tensor) -> Any:
        return _run_lstm(x, h, c, weight, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[3], inputs[4], *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        return *_run_lstm_backward(grad.contiguous(), *ctx.saved_tensors), None


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, rows: Tensor) -> Tensor:
        return x.index_select(0, rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.num_rows = inputs[0].shape[0]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _run_take_backward(grad.contiguous(), *ctx.saved_tensors, ctx.num_rows), None


_apply_take: Callable[..., Tensor] = _Take.apply
_apply_gru: Callable[..., tuple[Tensor, ...]] = _GRU.apply
_apply_lstm: Callable[..., tuple[Tensor, ...]] = _LSTM.apply


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return `x[rows]`, with a gradient of the same bits each time, also where a row is taken often.

    torch's own, and the compiler's, let several threads add to one row in whatever order they come.

    Args:
        x: float32 (R, H).
        rows: int64 (B,).

    Returns:
        float32 (B, H).
    """
    return _apply_take(x, rows)


def gru(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor, keep: Tensor) -> Tensor:
    """Walk a GRU along sequences.

    Args:
        x: float32 (T, K, S, 3 H), what the input contributes to the gates r, z, n.
        h: float32 (K, S, H), the state before.
        weight: float32 (K, H, 3 H), from the state to the gates.
        bias: float32 (K, 1, H), of the candidate's recurrent part, which r scales.
        keep: float32 (T, 1, S, 1), 0 where the state is zeroed before the step, else 1.

    Returns:
        Outputs, float32 (T, K, S, H), which are the states too.
    """
    return _apply_gru(x, h, weight, bias, keep)[0]


def lstm(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Walk an LSTM along sequences.

    Args:
        x: float32 (T, K, S, 4 H), what the input contributes to the gates i, f, o, g.
        h, c: float32 (K, S, H), the state before.
        weight: float32 (K, H, 4 H), from h to the gates.
        keep: float32 (T, 1, S, 1), 0 where the state is zeroed before the step, else 1.

    Returns:
        Outputs and cells, float32 (T, K, S, H). No gradient flows through the cells: they are where the next sequence
        begins.
    """
    outputs, cells, *_ = _apply_lstm(x, h, c, weight, keep)
    return outputs, cells
