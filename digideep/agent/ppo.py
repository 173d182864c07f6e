"""Proximal Policy Optimisation. Source: Schulman et al. 2017, arXiv:1707.06347.

Top to bottom: the data, the loss (Eq. 7, 9), minibatches, the agent: acting, the update, advantages.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from digideep.agent.advantages import generalized_advantages
from digideep.agent.base import ACTION_MASK, AgentBase, AgentContext
from digideep.learning.gradient_step import GradientStep
from digideep.learning.optimizers import Adam, Optimizer
from digideep.parameters.checks import require, require_between, require_int
from digideep.parameters.component import Description, build, describe
from digideep.parameters.schedule import Course, Schedules
from digideep.policy.acting import stochastic_act
from digideep.policy.base import PolicyBase
from digideep.policy.observations import Observations, take_rows, to_channels_last
from digideep.policy.stochastic import StochasticPolicy
from digideep.utility.errors import UsageError

_IMAGE_ROWS = 256  # whose values are computed at once
METRICS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")


class Trajectories(NamedTuple):
    """A chunk as tensors, its rows flattened to B = N * (T + 1)."""

    observations: Observations  # float32 (B, D), or path -> (B, ...)
    actions: Tensor  # int64 (B,) or (B, A), or float32 (B, A)
    log_p: Tensor  # float32 (B,), of the action when it was chosen
    values: Tensor  # float32 (B,), before the update
    advantages: Tensor  # float32 (B,)
    returns: Tensor  # float32 (B,), targets of the value function
    allowed: Tensor | None = None  # bool (B, choices), the action mask, if it is in use
    # Of recurrent policies only:
    states: Tensor | None = None  # float32 (B, H), the hidden state before the row
    masks: Tensor | None = None  # bool (B,), whether a transition starts there

    def take(self, rows: Tensor) -> "Trajectories":
        """Args: rows: int64 (M,). Returns: these rows only."""
        others: list[Any] = [None if each is None else each[rows] for each in self[1:]]
        return Trajectories(take_rows(self.observations, rows), *others)


def ppo_loss(
    policy: Any,
    data: Trajectories,
    rows: Tensor,
    clip_param: Tensor,
    *,
    value_loss_coef: float,
    entropy_coef: float,
    use_clipped_value_loss: bool,
    normalize_advantages: bool,
) -> tuple[Tensor, Tensor]:
    """Clipped surrogate objective, value loss and entropy bonus of one minibatch.

    Source: Schulman et al. 2017, Eq. 7 and 9; value clipping: "The 37 implementation details of PPO", detail 9;
    approximate KL divergence: Schulman 2020, "Approximating KL divergence", estimator k3.

    Args:
        policy: maps observations and actions to log-probabilities, entropies and values.
        data: the whole chunk.
        rows: int64 (M,), the rows of this minibatch; (S, L), those of its sequences, for a recurrent policy. It walks
            along each sequence from the state that is stored at its first row, and rows where no transition starts
            count nowhere.
        clip_param: 0-dimensional, in (0, 1).
        value_loss_coef: weight of the value loss, at least 0.
        entropy_coef: weight of the entropy bonus, at least 0.
        use_clipped_value_loss: keep new values within `clip_param` of the old ones.
        normalize_advantages: to mean 0 and standard deviation 1 within the minibatch.

    Returns:
        The loss, 0-dimensional, and what `METRICS` names, (5,).
    """
    batch = data.take(rows.flatten())
    mask = () if batch.allowed is None else (batch.allowed,)
    if data.states is None or batch.masks is None:
        log_p, entropies, values = policy(batch.observations, batch.actions, *mask)
    else:
        states, masks = data.states[rows[:, 0]], batch.masks.view(rows.shape)
        log_p, entropies, values = policy(batch.observations, batch.actions, states, masks, *mask)
        log_p = torch.where(batch.masks, log_p, batch.log_p)
    mean, advantages = mean_over(batch.masks), batch.advantages
    if normalize_advantages:
        advantages = (advantages - mean(advantages)) / (standard_deviation(advantages, batch.masks) + 1e-8)

    log_ratio = log_p - batch.log_p
    ratio = log_ratio.exp()
    clipped = torch.clamp(ratio, 1 - clip_param, 1 + clip_param)
    policy_loss = -mean(torch.minimum(ratio * advantages, clipped * advantages))

    value_errors = (values - batch.returns).square()
    if use_clipped_value_loss:
        near = batch.values + torch.clamp(values - batch.values, -clip_param, clip_param)
        value_errors = torch.maximum(value_errors, (near - batch.returns).square())
    value_loss = 0.5 * mean(value_errors)

    entropy = mean(entropies)
    loss = policy_loss + value_loss_coef * value_loss - entropy_coef * entropy
    approx_kl = mean(ratio - 1 - log_ratio)
    clip_fraction = mean(((ratio - 1).abs() > clip_param).float())
    return loss, torch.stack([policy_loss, value_loss, entropy, approx_kl, clip_fraction]).detach()


def mean_over(masks: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The mean of a tensor (M,), over the rows where `masks`, bool (M,), is true; over all without masks."""
    if masks is None:
        return Tensor.mean
    weights = masks / masks.sum().clamp(min=1)
    return lambda values: (values * weights).sum()


def standard_deviation(values: Tensor, masks: Tensor | None) -> Tensor:
    """Of a tensor (M,), over the same rows as `mean_over`; of a sample, so divided by one less than their number."""
    if masks is None:
        return values.std()
    deviations = (values - mean_over(masks)(values)) * masks
    return (deviations.square().sum() / (masks.sum() - 1).clamp(min=1)).sqrt()


def shuffled_minibatches(rows: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """A random permutation of rows or sequences, cut into minibatches.

    Every row comes once; only the last minibatch is filled up with rows from the start of the permutation, so that all
    have one shape and one compiled function serves them.

    Args:
        rows: int64 (M,), or (M, L) for sequences; M at least 1.
        size: rows of a minibatch.
        generator: owned by the caller.

    Returns:
        int64 (ceil(M / size), size), or (ceil(M / size), size, L).
    """
    order = generator.permutation(rows)
    return np.resize(order, (-(-len(order) // size), size, *rows.shape[1:]))


class PPO(AgentBase):
    """Learns from the newest chunk: `n_update` epochs over its transitions, in shuffled minibatches.

    With a recurrent policy the minibatches are of sequences, see docs/recurrence.md.

    Args:
        context: what exists at run time.
        observation_path: which observation the policy sees, or several; see `AgentBase`.
        use_action_mask: see `AgentBase`.
        policy: description of a policy with `act`, `value` and a `forward` as in `StochasticPolicy`, or, if it has a
            `state_size`, as in `RecurrentPolicy`.
        sampler: description of a sampler that delivers a chunk with "/rows", such as `NewestChunk`; for a recurrent
            policy with "/sequences" too, such as `NewestSequences`.
        gamma: discount per step, in [0, 1].
        gae_lambda: in [0, 1]; 1 sums rewards to the end of the chunk.
        n_update: epochs over a chunk, at least 1. Usual: 3 to 20.
        num_mini_batches: minibatches of an epoch over a full chunk, at least 1; at most its number of sequences.
        lr: learning rate, a number or a schedule over updates.
        clip_param: range of the probability ratio, a number or a schedule over updates. Usual: 0.1 to 0.3.
        value_loss_coef: weight of the value loss. Usual: 0.25 to 1.
        entropy_coef: weight of the entropy bonus. Usual: 0 to 0.02.
        max_grad_norm: limit of the gradient's norm; None for no limit.
        use_clipped_value_loss: see `ppo_loss`.
        normalize_advantages: see `ppo_loss`.
        recompute_advantages: estimate them anew with the current values before every epoch. Source: the Tianshou
            MuJoCo benchmark, whose authors found that it "contributes a lot".
        target_kl: stop an update after the epoch whose mean approximate KL exceeds 1.5 times this; None never stops.
        optimizer: description of an optimizer.
        compile: "auto", "on" or "off", see `GradientStep`.
    """

    value_needs_mask = False

    def __init__(
        self,
        context: AgentContext,
        *,
        observation_path: str | list[str] | None = "/agent",
        use_action_mask: bool = False,
        policy: Description,
        sampler: Description,
        gamma: float,
        gae_lambda: float,
        n_update: int,
        num_mini_batches: int,
        lr: float | Description,
        clip_param: float | Description,
        value_loss_coef: float = 0.5,
        entropy_coef: float = 0.0,
        max_grad_norm: float | None = 0.5,
        use_clipped_value_loss: bool = False,
        normalize_advantages: bool = True,
        recompute_advantages: bool = True,
        target_kl: float | None = None,
        optimizer: Description | None = None,
        compile: str = "auto",
    ):
        super().__init__(context, observation_path, use_action_mask)
        require_between("gamma", gamma, 0, 1)
        require_between("gae_lambda", gae_lambda, 0, 1)
        require_int("n_update", n_update, 1)
        require_int("num_mini_batches", num_mini_batches, 1)
        require_between("value_loss_coef", value_loss_coef)
        require_between("entropy_coef", entropy_coef)
        if target_kl is not None:
            require_between("target_kl", target_kl)
        self.gamma, self.gae_lambda, self.n_update = gamma, gae_lambda, n_update
        self.num_mini_batches, self.target_kl, self.recompute_advantages = (
            num_mini_batches,
            target_kl,
            recompute_advantages,
        )
        self.normalize_advantages = normalize_advantages
        self.lr, self.clip_param = (Course(value, self.plan.n_cycles) for value in (lr, clip_param))
        require(0 < self.clip_param(0) < 1, "clip_param", self.clip_param(0), "in (0, 1) at the start")

        self.policy = build(
            policy,
            PolicyBase,
            observation_space=self.observation_space,
            action_space=self.action_space,
            generator=self.init_generator,
        ).to(self.device)

        def loss(policy: Any, data: Trajectories, rows: Tensor, clip_param: Tensor) -> tuple[Tensor, Tensor]:
            return ppo_loss(
                policy,
                data,
                rows,
                clip_param,
                value_loss_coef=value_loss_coef,
                entropy_coef=entropy_coef,
                use_clipped_value_loss=use_clipped_value_loss,
                normalize_advantages=normalize_advantages,
            )

        self.step = GradientStep(
            self.policy,
            loss,
            build(optimizer or describe(Adam, eps=1e-5), Optimizer),
            max_grad_norm=max_grad_norm,
            compile=compile,
            planned_steps=self.plan.n_cycles * n_update * num_mini_batches,
        )
        self.numpy_act = stochastic_act(self.policy) if self.sees_plainly else None
        agent = f"/agents/{self.name}"
        self.keys = {"actions": f"{agent}/actions", "log_p": f"{agent}/artifacts/action_log_p"}
        self.is_recurrent = self.policy.state_size > 0
        if self.is_recurrent:
            self.keys["states"] = f"{agent}/hidden_state"
        observations = [f"/observations{path}" for path in self.observation_paths]
        mask = [ACTION_MASK] if self.use_action_mask else []
        # Behind a shared encoder a value costs next to nothing when an action is chosen, and a pass later.
        shares_encoder = type(self.policy) is StochasticPolicy and self.policy.encoder is not None
        self.value_key = f"{agent}/artifacts/value" if shares_encoder else None
        values = [self.value_key] if self.value_key else []
        own = [*self.keys.values(), *values]
        self.sampler_info = {"keys": ["/masks", "/rewards", "/terminations", *observations, *mask, *own]}
        self.sampler = self.make_sampler(sampler)
        if self.is_recurrent and "sequence_length" not in getattr(self.sampler, "info", {}):
            raise UsageError(
                f"{type(self.policy).__name__} learns from sequences, which {type(self.sampler).__name__} does not "
                "deliver. Give PPO the sampler digideep.memory.sampler.NewestSequences."
            )

    def reset_hidden_state(self, num_workers: int) -> np.ndarray | None:
        """See `AgentBase`."""
        return np.zeros((num_workers, self.policy.state_size), np.float32) if self.is_recurrent else None

    def action_generator(
        self,
        observations: dict[str, np.ndarray],
        hidden_state: np.ndarray | None,
        masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:
        """See `AgentBase`. The artifact `action_log_p` (N,) is what the ratio of the loss divides by.

        Where actor and critic share an encoder, there is `value` (N,) too.
        """
        if self.numpy_act is not None:
            x = observations[self.observation_paths[0]]
            actions, log_p = self.numpy_act(x, self.generator, deterministic)
            return {"actions": actions, "artifacts": {"action_log_p": log_p}}
        with torch.inference_mode():
            allowed = self.allowed(observations)
            mask = () if allowed is None else (self.to_tensor(allowed),)
            before = () if hidden_state is None else (self.to_tensor(hidden_state),)
            act = self.policy.act_and_value if self.value_key else self.policy.act
            chosen = act(self.observe(observations), *before, self.generator, deterministic, *mask)
        actions, log_p, *others = (tensor.numpy(force=True) for tensor in chosen)
        choice: dict[str, Any] = {"actions": actions, "artifacts": {"action_log_p": log_p}}
        if self.value_key:
            choice["artifacts"]["value"] = others[0]
        elif others:
            choice["hidden_state"] = others[0]
        return choice

    def schedules(self) -> Schedules:
        """See `AgentBase`."""
        return {"lr": (self.lr, lambda: self.n_updates), "clip_param": (self.clip_param, lambda: self.n_updates)}

    @property
    def needed_keys(self) -> list[str]:
        """See `AgentBase`."""
        return self.sampler_info["keys"]

    def check_plan(self) -> None:
        """See `AgentBase`: every minibatch has rows, and enough of them to normalise."""
        for name, (course, clock) in self.schedules().items():
            course.require_positive(name, clock())
        steps, num_rows = self.plan.n_steps, self.plan.num_rows
        sampler_info: Any = getattr(self.sampler, "info", {})
        length = min(sampler_info["sequence_length"] or steps, steps) if self.is_recurrent else 1
        units = num_rows * -(-steps // length)
        what = f"{'sequences' if self.is_recurrent else 'rows'} of a chunk, {units}"
        if self.num_mini_batches > units:
            raise UsageError(f"num_mini_batches must be at most the {what}, got {self.num_mini_batches}. Lower it.")
        if self.normalize_advantages and units // self.num_mini_batches * length == 1:
            raise UsageError(
                f"num_mini_batches={self.num_mini_batches} leaves one row of {units} to a minibatch, whose advantage "
                "cannot be normalised. Lower it, raise num_workers or n_steps, or set normalize_advantages to false."
            )

    def update(self) -> dict[str, float]:
        """Learn from the newest chunk. Returns: the means of `METRICS`, the learning rate, the explained variance."""
        with self.profiler(f"update/{self.name}"):
            chunk = self.sampler(self.memory, self.sampler_info)
            rows, (num_workers, length) = chunk["/rows"], chunk["/masks"].shape[:2]
            if not len(rows):  # nobody moved: all of the agent's players had left, or every episode was over
                self.n_updates += 1
                return {}
            units = chunk["/sequences"] if self.is_recurrent else rows
            whole = len(units) if self.is_recurrent else num_workers * (length - 1)
            size = max(whole // self.num_mini_batches, 1)
            lr = self.lr(self.n_updates)
            clip_param = torch.tensor(self.clip_param(self.n_updates), device=self.device)

            with self.profiler("advantages"):
                data = self._tensors(chunk)
                data = self.estimate(chunk, data, data.values)
                explained = self._explained_variance(data, rows)
            totals, num_steps = torch.zeros(len(METRICS), device=self.device), 0
            for epoch in range(self.n_update):
                if epoch and self.recompute_advantages:
                    with self.profiler("advantages"):
                        data = self.estimate(chunk, data, self._values(data, num_workers))
                with self.profiler("step"):
                    order = torch.from_numpy(shuffled_minibatches(units, size, self.numpy_generator)).to(self.device)
                    before = totals.clone()
                    for minibatch in order:
                        totals += self.step(lr, data, minibatch, clip_param)
                    num_steps += len(order)
                if self.target_kl is not None:
                    mean_kl = float((totals - before)[METRICS.index("approx_kl")]) / len(order)
                    if mean_kl > 1.5 * self.target_kl:
                        break
            self.n_updates += 1
            metrics = dict(zip(METRICS, (totals / num_steps).tolist(), strict=True))
            return self.check_finite({**metrics, "explained_variance": explained, "lr": lr, "epochs": epoch + 1.0})

    def _tensors(self, chunk: dict[str, np.ndarray]) -> Trajectories:
        """What does not change during an update; the values are those before it."""

        def rows_of(key: str) -> np.ndarray:
            return chunk[key].reshape(-1, *chunk[key].shape[2:])

        seen = self.observe({path: rows_of(f"/observations{path}") for path in self.observation_paths})
        observations = to_channels_last(seen)
        actions, log_p, *states = (self.to_tensor(rows_of(key)) for key in self.keys.values())
        nothing = torch.zeros(len(log_p), device=self.device)
        allowed = self.to_tensor(rows_of(ACTION_MASK) != 0) if self.use_action_mask else None
        data = Trajectories(observations, actions, log_p, nothing, nothing, nothing, allowed)
        if states:
            masks = chunk["/masks"][..., 0].copy()
            masks[:, -1] = False  # no step was taken there yet
            data = data._replace(states=states[0], masks=self.to_tensor(masks.reshape(-1)))
        if self.value_key is None:
            return data._replace(values=self._values(data, len(chunk["/masks"])).clone())
        values = self.to_tensor(chunk[self.value_key])
        num_workers, length = values.shape
        with torch.inference_mode():  # no action has been chosen yet for the last rows
            last = torch.arange(1, num_workers + 1, device=self.device) * length - 1
            values[:, -1] = self.policy.value(take_rows(observations, last))
        return data._replace(values=values.flatten())

    @torch.inference_mode()
    def _values(self, data: Trajectories, num_workers: int) -> Tensor:
        """The values of all rows, float32 (B,): in one forward pass, with images in slices that fit into the cache.

        A recurrent policy walks along the chunk, from the states that it had at the first rows.
        """
        observations = data.observations
        if data.states is not None and data.masks is not None:
            states, masks = (tensor.unflatten(0, (num_workers, -1)) for tensor in (data.states, data.masks))
            return self.policy.value(observations, states[:, 0], masks)
        if isinstance(observations, Tensor):
            return self.policy.value(observations)
        total = len(next(iter(observations.values())))
        slices = (slice(first, first + _IMAGE_ROWS) for first in range(0, total, _IMAGE_ROWS))
        return torch.cat([self.policy.value({path: o[rows] for path, o in observations.items()}) for rows in slices])

    def estimate(self, chunk: dict[str, np.ndarray], data: Trajectories, value: Tensor) -> Trajectories:
        """Advantages and returns. Args: value: of each row under the current value function, float32 (B,)."""
        shape = chunk["/masks"].shape[:2]
        values = value.numpy(force=True).reshape(shape)
        advantages = np.zeros(shape, np.float32)
        advantages[:, :-1] = generalized_advantages(
            chunk["/rewards"][:, :-1, 0],
            values,
            chunk["/terminations"][:, :-1, 0],
            chunk["/masks"][..., 0],
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
        )
        returns = advantages + values
        return data._replace(
            advantages=self.to_tensor(advantages.reshape(-1)), returns=self.to_tensor(returns.reshape(-1))
        )

    @staticmethod
    def _explained_variance(data: Trajectories, rows: np.ndarray) -> float:
        """1 - Var(returns - values) / Var(returns): 1 is a perfect value function, 0 none; 0 for constant returns."""
        used = torch.from_numpy(rows).to(data.returns.device)
        returns, values = data.returns[used], data.values[used]
        spread = float(returns.var(correction=0))
        return 1.0 - float((returns - values).var(correction=0)) / spread if spread > 0 else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Everything of `AgentBase`, and the optimizer."""
        return {**super().state_dict(), "optimizer": self.step.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        super().load_state_dict(state)
        self.step.load_state_dict(state["optimizer"])
