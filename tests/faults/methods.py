"""Deliberate faults in the methods that build on others: quantiles, CrossQ, REDQ, discrete SAC, A2C, PQN, networks."""

from tests.faults.runner import faults_in

_QUANTILES = "tests/agent/test_quantile_methods.py"
_CROSSQ = "tests/agent/test_crossq.py"
_DISCRETE = "tests/agent/test_sac_discrete.py"
_SWITCHES = "tests/agent/test_more_switches.py"
_PQN = "tests/agent/test_pqn.py"
_NETWORKS = "tests/policy/test_normalized_networks.py"

FAULTS = (
    *faults_in(
        "digideep/agent/quantiles.py",
        _QUANTILES,
        ("(weights * huber).mean(-1).sum(-1)", "(weights * huber).sum(-1).mean(-1)", "the quantile loss's axes"),
        ("+ 0.5) / size", "+ 1.0) / size", "levels at the ends of their intervals"),
        ("(errors.detach() < 0)", "(errors.detach() > 0)", "low quantiles rise"),
    ),
    *faults_in(
        "digideep/agent/tqc.py",
        _QUANTILES,
        ("pooled.shape[1] - dropped]", "pooled.shape[1]]", "no quantile is left out"),
        ("pooled[:, : pooled.shape[1] - dropped]", "pooled[:, dropped:]", "the smallest are left out"),
        ("batch.discounts[:, None] * (kept", "0.9 * (kept", "terminations bootstrap"),
        ("(kept - alpha", "(kept + alpha", "targets punish entropy"),
        (".mean((0, 2))).mean()", ".mean(2).amin(0)).mean()", "the actor follows the least critic"),
    ),
    *faults_in(
        "digideep/agent/qr_dqn.py",
        _QUANTILES,
        (
            "quantiles.mean(-1)\n    best",
            "quantiles.amax(-1)\n    best",
            "the next action is the best by its luckiest quantile",
        ),
        ("batch.discounts[:, None] * best", "0.5 * best", "terminations bootstrap"),
        ("batch.next_allowed))", "None))", "the mask is not heeded"),
    ),
    *faults_in(
        "digideep/agent/crossq.py",
        _CROSSQ,
        (".detach()\n", "\n", "the targets learn"),
        ("return torch.cat([first, second])", "return torch.cat([first, first])", "moments of the wrong batch"),
        ("batch.discounts * soft", "0.5 * soft", "terminations bootstrap"),
        ("- alpha * next_log_p", "+ alpha * next_log_p", "targets punish entropy"),
    ),
    *faults_in(
        "digideep/agent/sac_discrete.py",
        _DISCRETE,
        ("(values - alpha * log_p)).sum", "(values + alpha * log_p)).sum", "entropy is punished"),
        ("batch.discounts * soft_values", "0.5 * soft_values", "terminations bootstrap"),
        ("entropy = -(log_p", "entropy = (log_p", "the entropy's sign"),
        ("self.target_entropy_ratio * math.log", "-self.target_entropy_ratio * math.log", "the target entropy's sign"),
        ("batch.actions[:, None]", "batch.actions.flip(0)[:, None]", "values of other transitions' actions"),
    ),
    *faults_in(
        "digideep/agent/sac.py",
        _SWITCHES,
        ("actions, *chosen)", "actions)", "targets ask all critics"),
        ("values.mean(0) if by_mean", "values.amin(0) if by_mean", "REDQ's actor follows the least critic"),
        (
            "order[: self.num_target_critics]",
            "order.sort().values[: self.num_target_critics]",
            "the same critics each time",
        ),
        ("self.is_due(self.policy_delay)", "True", "the actor steps each time"),
    ),
    *faults_in(
        "digideep/learning/target_network.py",
        _SWITCHES,
        ("part.train(isinstance(part, nn.Dropout))", "part.train(False)", "targets drop nothing"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _SWITCHES,
        ("torch.manual_seed(int(self.numpy_generator.integers(2**62)))", "torch.seed()", "dropout by chance"),
    ),
    *faults_in(
        "digideep/agent/a2c.py",
        _SWITCHES,
        ("- entropy_coef * entropy", "+ entropy_coef * entropy", "entropy is punished"),
        ("-batch.mean(now.log_p", "batch.mean(now.log_p", "good actions are unlearned"),
    ),
    *faults_in(
        "digideep/agent/pqn.py",
        _PQN,
        ("if not deterministic:", "if True:", "tests explore"),
        ("now.value - batch.returns", "now.value - batch.values", "values learn themselves"),
    ),
    *faults_in(
        "digideep/policy/discrete.py",
        f"{_PQN} {_DISCRETE}",
        (
            "return self.judge(observations).amax(-1)",
            "return self.judge(observations).mean(-1)",
            "the value of a mean action",
        ),
        ("exponential_(generator=generator).log()", "exponential_(generator=generator)", "samples are skewed"),
        ("logits.masked_fill(~allowed, _NEVER)", "logits", "the actor does not heed the mask"),
    ),
    *faults_in(
        "digideep/policy/normalized_networks.py",
        _NETWORKS,
        ("if not self.training:", "if self.training:", "the batch's moments where it acts"),
        ("self.mean.lerp_(batch_mean", "self.mean.lerp_(mean", "running means stay"),
        ("/ batch_std * r + d)", "/ batch_std * r)", "batch renormalisation without its shift"),
        (".clamp(1 / self.r_max, self.r_max)", "", "batch renormalisation without limits"),
        ("with torch.no_grad():\n            is_warm", "if True:\n            is_warm", "the correction learns"),
        ("return x + change", "return change", "blocks without their stream"),
        ("4 * size, generator)", "size, generator)", "narrow blocks"),
    ),
)
