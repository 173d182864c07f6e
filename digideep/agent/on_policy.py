"""What on-policy methods share: from a chunk to advantages, and epochs of minibatches over it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from digideep.agent.advantages import generalized_advantages
from digideep.agent.base import ACTION_MASK, AgentBase
from digideep.agent.behaviour_cloning import BehaviourCloning, evaluation_loss
from digideep.agent.context import AgentContext
from digideep.agent.trajectories import Trajectories, shuffled_minibatches
from digideep.learning.compiling import compiled, pays_to_compile
from digideep.learning.gradient_step import GradientStep, Means, Metrics, pack
from digideep.learning.optimizers import Adam, Optimizer
from digideep.parameters.checks import require_between, require_int
from digideep.parameters.component import Description, build, describe
from digideep.policy.base import Evaluation
from digideep.policy.observations import gather, to_channels_last, view_of
from digideep.utility.errors import UsageError

_IMAGE_ROWS = 256  # whose values are computed at once


class OnPolicyAgent(AgentBase):
    """Learns from the newest chunk: `n_update` epochs over its transitions, in shuffled minibatches.

    A subclass says its `loss`. With a recurrent policy the minibatches are of sequences, see docs/recurrence.md.

    Args:
        context: what exists at run time.
        policy: description of a policy with `act`, `value` and `forward`, as `StochasticPolicy`; one with a
            `state_size` as `RecurrentPolicy`.
        sampler: description of a sampler that delivers a chunk with "/rows", such as `NewestChunk`; for a recurrent
            policy with "/sequences" too, such as `NewestSequences`.
        gamma: discount per step, in [0, 1].
        gae_lambda: in [0, 1]; 1 sums rewards to the end of the chunk.
        n_update: epochs over a chunk, at least 1. Usual: 3 to 20.
        num_mini_batches: minibatches of an epoch over a full chunk, at least 1; at most its number of sequences.
        lr: learning rate, a number or a schedule over updates.
        max_grad_norm: limit of the gradient's norm; None for no limit.
        normalize_advantages: to mean 0 and standard deviation 1 within the minibatch.
        recompute_advantages: estimate them anew with the current values before every epoch. Source: the Tianshou
            MuJoCo benchmark, whose authors found that it "contributes a lot".
        target_kl: stop an update after the epoch whose mean approximate KL divergence from the policy that acted
            exceeds 1.5 times this; None never stops.
        optimizer: description of an optimizer.
        pretraining: description of a `BehaviourCloning` before the first frame; None for none.
        compile: "auto", "on" or "off": compile the gradient step; "auto" where the plan repays it.
    """

    value_needs_mask = False

    def __init__(
        self, context: AgentContext, *, policy: Description, sampler: Description, gamma: float, gae_lambda: float,
        n_update: int = 1, num_mini_batches: int = 1, lr: float | Description, max_grad_norm: float | None = 0.5,
        normalize_advantages: bool = True, recompute_advantages: bool = True, target_kl: float | None = None,
        optimizer: Description | None = None, compile: str = "auto", pretraining: Description | None = None,
        **parameters: Any,
    ):  # fmt: skip
        super().__init__(context, **parameters)
        require_between("gamma", gamma, 0, 1)
        require_between("gae_lambda", gae_lambda, 0, 1)
        require_int("n_update", n_update, 1)
        require_int("num_mini_batches", num_mini_batches, 1)
        if target_kl is not None:
            require_between("target_kl", target_kl)
        self.gamma, self.gae_lambda, self.n_update = gamma, gae_lambda, n_update
        self.num_mini_batches, self.target_kl = num_mini_batches, target_kl
        self.normalize_advantages, self.recompute_advantages = normalize_advantages, recompute_advantages
        self.schedule("lr", lr, self.plan.n_cycles)
        self.policy = self.make_policy(policy)
        rule = build(optimizer or describe(Adam, eps=1e-5), Optimizer)
        self.step = self.register(
            "optimizer", GradientStep(self.policy, self._minibatch_loss, rule, max_grad_norm=max_grad_norm)
        )
        if pretraining is not None:
            runtime = {"agent": self, "network": self.step, "loss": evaluation_loss}
            self.register("pretraining", build(pretraining, BehaviourCloning, **runtime))
        planned_steps = self.plan.n_cycles * n_update * num_mini_batches
        is_compiled = pays_to_compile(compile, rule, planned_steps, self.device, len(self.step.flat))
        self._step = compiled(self.gradient_step, self.device) if is_compiled else self.gradient_step

        agent = f"/agents/{self.name}"
        self.keys = {"actions": f"{agent}/actions", "log_p": f"{agent}/artifacts/action_log_p"}
        self.is_recurrent = self.policy.state_size > 0
        if self.is_recurrent:
            self.keys["states"] = f"{agent}/hidden_state"
        self.value_key = f"{agent}/artifacts/value" if self.policy.gives_value else None
        observations = [f"/observations{path}" for path in self.learned_paths]
        own = [*([ACTION_MASK] if self.use_action_mask else []), *self.keys.values()]
        own += [self.value_key] if self.value_key else []
        self.sampler_info = {"keys": ["/masks", "/rewards", "/terminations", *observations, *own]}
        self.sampler = self.make_sampler(sampler)
        if self.is_recurrent and "sequence_length" not in getattr(self.sampler, "info", {}):
            raise UsageError(
                f"{type(self.policy).__name__} learns from sequences, which {type(self.sampler).__name__} does not "
                "deliver. Give it the sampler digideep.memory.sampler.NewestSequences."
            )

    @abstractmethod
    def loss(
        self, now: Evaluation, batch: Trajectories, scheduled: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Judge a minibatch; a pure function, which may be compiled: what it reads of the agent never changes.

        Args:
            now: what the policy says of its actions, (M,).
            batch: its M rows. Means are taken by `batch.mean`: of a recurrent policy some rows count nowhere.
            scheduled: the schedules' values of this update, by name, 0-dimensional.

        Returns:
            The loss, 0-dimensional, and metrics by name, likewise.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------ acting

    def action_generator(
        self, observations: dict[str, np.ndarray], hidden_state: np.ndarray | None, masks: np.ndarray,
        deterministic: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """See `AgentBase`. Artifacts are `action_log_p` (N,), and `value` (N,) where the policy gives it."""
        choice = self.choose(observations, hidden_state, deterministic)
        artifacts = {"action_log_p": choice.log_p}
        if self.value_key:
            artifacts["value"] = choice.value
        row = {"actions": choice.actions, "artifacts": artifacts}
        return row if choice.state is None else {**row, "hidden_state": choice.state}

    # ------------------------------------------------------------------ learning

    @property
    def needed_keys(self) -> list[str]:
        """See `AgentBase`."""
        return self.sampler_info["keys"]

    def check_plan(self) -> None:
        """See `AgentBase`: every minibatch has rows, and enough of them to normalise."""
        super().check_plan()
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
        """Learn from the newest chunk. Returns: means of metrics, schedules' values, the explained variance."""
        with self.profiler(f"update/{self.name}"):
            chunk = self.sampler(self.memory, self.sampler_info)
            rows, (num_workers, length) = chunk["/rows"], chunk["/masks"].shape[:2]
            units = chunk["/sequences"] if self.is_recurrent else rows
            whole = len(units) if self.is_recurrent else num_workers * (length - 1)
            size = max(whole // self.num_mini_batches, 1)
            # As many minibatches as the rank with the most rows has.
            number = self.ranks.largest(-(-len(units) // size) if len(rows) else 0)
            if not number:  # nobody moved: all of the agent's players had left, or every episode was over
                self.n_updates += 1
                return {}
            units = units if len(units) else np.zeros(1, np.int64)  # other ranks' did
            values = {name: course(clock()) for name, (course, clock) in self.schedules().items()}
            self.step.set_lr(values["lr"])
            scheduled = {name: torch.tensor(v, device=self.device) for name, v in values.items() if name != "lr"}

            with self.profiler("advantages"):
                data = self._tensors(chunk)
                data = self.estimate(chunk, data, data.values)
                explained = self._explained_variance(data, rows)
            means = Means()
            for epoch in range(self.n_update):
                if epoch and self.recompute_advantages:
                    with self.profiler("advantages"):
                        data = self.estimate(chunk, data, self._values(data, num_workers))
                divergences = []
                with self.profiler("step"), self.ranks.waiting():
                    order = torch.from_numpy(shuffled_minibatches(units, size, self.numpy_generator, number))
                    order = order.to(self.device)
                    for minibatch, (share, moments) in zip(
                        order, self._over_ranks(data, order, len(rows)), strict=True
                    ):
                        if share is not None:
                            self.step.set_share(share)
                        metrics, divergence = self._step(data, minibatch, scheduled | moments)
                        means.add(metrics)
                        divergences.append(divergence)
                        self.n_gradient_steps += 1
                        if len(divergences) % self.averaging_interval == 0:
                            self.average()
                if self.target_kl is not None and self._mean(divergences) > 1.5 * self.target_kl:
                    break
            self.average()
            self.n_updates += 1
            figures = {**means.take(), "explained_variance": explained, **values, "epochs": epoch + 1.0}
            return self.check_finite(figures)

    def _over_ranks(
        self, data: Trajectories, order: Tensor, num_rows: int
    ) -> Sequence[tuple[float | None, dict[str, Tensor]]]:
        """Return what each minibatch must know of the other ranks: this rank's share of the rows that count in it, and
        the moments of the advantages over all of them, by name. One message for an epoch.

        Args:
            data: the whole chunk.
            order: int64 (K, M) or (K, S, L), the rows of each minibatch.
            num_rows: of the chunk, where transitions start. Without any, the minibatches hold what does not count.
        """
        if self.ranks.size == 1 or self.averaging_interval > 1:
            return [(None, {})] * len(order)
        rows = order.flatten(1)
        counted = torch.full_like(rows, num_rows > 0) if data.masks is None else data.masks[rows]
        counted, advantages = counted.double(), data.advantages[rows].double()
        own = torch.stack([counted, counted * advantages, counted * advantages.square()]).sum(-1)
        total = self.ranks.sum(own.clone())
        counts = total[0].clamp(min=1)
        shares, means = (own[0] / counts).tolist(), total[1] / counts
        if not self.normalize_advantages:
            return [(share, {}) for share in shares]
        spreads = ((total[2] - counts * means.square()) / (counts - 1).clamp(min=1)).clamp(min=0).sqrt()
        moments = zip(means.float(), spreads.float(), strict=True)
        return [
            (share, {"/mean": mean, "/spread": spread}) for share, (mean, spread) in zip(shares, moments, strict=True)
        ]

    def _mean(self, values: list[Tensor]) -> float:
        """Return the mean of 0-dimensional tensors over steps and ranks."""
        return float(self.ranks.sum(torch.stack(values).mean() / self.ranks.size))

    def gradient_step(self, data: Trajectories, rows: Tensor, scheduled: dict[str, Tensor]) -> tuple[Metrics, Tensor]:
        """Take one step on a minibatch; compiled as one function.

        Returns:
            The metrics, and the approximate KL divergence from the policy that acted, 0-dimensional.
        """
        metrics, divergence = self.step(data, rows, scheduled)
        return pack({**metrics, "approx_kl": divergence}), divergence

    def _minibatch_loss(
        self, policy: Any, data: Trajectories, rows: Tensor, scheduled: dict[str, Tensor]
    ) -> tuple[Tensor, tuple[dict[str, Tensor], Tensor]]:
        """Judge rows of a chunk.

        Args:
            policy: stands for the policy.
            data: the whole chunk.
            rows: int64 (M,), the rows of this minibatch; (S, L), those of its sequences, for a recurrent policy. It
                walks along each sequence from the state that is stored at its first row, and rows where no transition
                starts count nowhere.
            scheduled: as in `loss`.
        """
        batch = data.take(rows.flatten())
        state, masks = None, None
        if data.states is not None and batch.masks is not None:
            state, masks = data.states[rows[:, 0]], batch.masks.view(rows.shape)
        now = policy(batch.observations, batch.actions, state=state, masks=masks, allowed=batch.allowed)
        if batch.masks is not None:
            now = now._replace(log_p=torch.where(batch.masks, now.log_p, batch.log_p))
        if self.normalize_advantages:
            mean, spread = scheduled.get("/mean"), scheduled.get("/spread")  # those of all ranks, if there are several
            centred = batch.advantages - (batch.mean(batch.advantages) if mean is None else mean)
            spread = batch.standard_deviation(batch.advantages) if spread is None else spread
            batch = batch._replace(advantages=centred / (spread + 1e-8))
        loss, metrics = self.loss(now, batch, scheduled)
        # Schulman 2020, "Approximating KL divergence", estimator k3.
        log_ratio = now.log_p - batch.log_p
        divergence = batch.mean(log_ratio.exp() - 1 - log_ratio).detach()
        return loss, (metrics, divergence)

    def _tensors(self, chunk: dict[str, np.ndarray]) -> Trajectories:
        """Return what does not change during an update; the values are those before it."""

        def rows_of(key: str) -> np.ndarray:
            return chunk[key].reshape(-1, *chunk[key].shape[2:])

        seen = self.views({path: rows_of(f"/observations{path}") for path in self.learned_paths})
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
            values[:, -1] = self.policy.value(gather(observations, last))
        return data._replace(values=values.flatten())

    @torch.inference_mode()
    def _values(self, data: Trajectories, num_workers: int) -> Tensor:
        """Return the values of all rows, float32 (B,): in one pass, with images in slices that fit into the cache.

        A recurrent policy walks along the chunk, from the states that it had at the first rows.
        """
        observations = view_of(data.observations, is_critic=True)
        value = cast("Callable[..., Tensor]", self.policy.value)
        if data.states is not None and data.masks is not None:
            states, masks = (torch.unflatten(each, 0, (num_workers, -1)) for each in (data.states, data.masks))
            return value(observations, state=states[:, 0], masks=masks)
        if isinstance(observations, Tensor):
            return value(observations)
        total = len(next(iter(observations.values())))
        slices = (slice(first, first + _IMAGE_ROWS) for first in range(0, total, _IMAGE_ROWS))
        return torch.cat([value({path: o[rows] for path, o in observations.items()}) for rows in slices])

    def estimate(self, chunk: dict[str, np.ndarray], data: Trajectories, value: Tensor) -> Trajectories:
        """Return data with advantages and returns. Args: value: float32 (B,), of each row, by the current function."""
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
        if not len(rows):
            return 0.0
        used = torch.from_numpy(rows).to(data.returns.device)
        returns, values = data.returns[used], data.values[used]
        spread = float(returns.var(correction=0))
        return 1.0 - float((returns - values).var(correction=0)) / spread if spread > 0 else 0.0
