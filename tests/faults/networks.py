"""Deliberate faults in what policies are built of: networks, encoders, cells, distributions."""

from tests.faults.runner import faults_in

_ACTING = "tests/policy/test_acting.py::test_"
_DISTRIBUTIONS = "tests/policy/test_distributions.py"
_NETWORKS = "tests/policy/test_networks.py"
_ENCODERS = "tests/policy/test_encoders.py"
_RECURRENT = "tests/policy/test_recurrent.py"
_STATE = "tests/policy/test_recurrent.py::test_outputs_states_and_gradients_are_those_of_torch"

FAULTS = (
    *faults_in(
        "digideep/policy/distributions.py",
        _DISTRIBUTIONS,
        ("(self.log_probs - noise.log())", "(self.log_probs - noise)", "other noise than Gumbel's"),
        ("(self.logits > 0).long()", "(self.logits > 0.5).long()", "log-odds are taken for chances"),
        ("(self.log_std + 0.5 + _HALF", "(self.log_std + _HALF", "the entropy lacks a half"),
        (
            "zip(self.parts, actions.unbind(-1), strict=True)]).sum(0)",
            "zip(self.parts, actions.unbind(-1), strict=True)]).mean(0)",
            "the mean over components",
        ),
        (
            "[part.entropy() for part in self.parts]).sum(0)",
            "[part.entropy() for part in self.parts]).mean(0)",
            "the mean entropy",
        ),
        ("masked_fill(~allowed, -1e8)", "masked_fill(~allowed, -10.0)", "what is forbidden is only unlikely"),
        (
            "(on * logsigmoid(self.logits) + (1 - on) * logsigmoid(-self.logits))",
            "(on * logsigmoid(self.logits))",
            "half of the entropy",
        ),
        ("out_features, 0.01, generator)", "out_features, 1.0, generator)", "policies start with opinions"),
        ("float(log_std_init))", "0.0)", "the spread of the start is ignored"),
        ("in_features), gain, generator", "in_features), 1.0, generator", "gains are ignored"),
        ("gain, generator=generator)", "gain)", "weights come from the global generator"),
        (
            "noise = torch.randn(self.mean.shape, generator=generator,",
            "noise = torch.randn(self.mean.shape,",
            "noise from the global generator",
        ),
        (
            "self.mean + noise * self.log_std.exp()",
            "self.mean + noise * self.log_std.exp().square()",
            "the variance for the deviation",
        ),
        (
            "(noise < self.logits.sigmoid())",
            "(noise > self.logits.sigmoid())",
            "switches are drawn the other way round",
        ),
    ),
    *faults_in(
        "digideep/policy/networks.py",
        f"{_NETWORKS} {_DISTRIBUTIONS}",
        ("limit = 1 / math.sqrt(in_features)", "limit = 1 / math.sqrt(out_features)", "the initial limit by outputs"),
        ("-limit, limit, generator", "0, limit, generator", "initial weights are positive"),
        ("0 if is_last_active else 1", "0", "the last layer is rounded"),
        ("layers if is_last_active else layers[:-1]", "layers[:-1]", "no activation after a last layer"),
        ("size, math.sqrt(2), generator)", "size, 1.0, generator)", "the gain of hidden layers"),
        (
            "else slice(num)]",
            "else slice(-(num or 0), None)]",
            "the last networks for the first",
        ),
    ),
    *faults_in(
        "digideep/policy/networks.py",
        f"{_ACTING}the_compiled_tanh_is_the_tangent_and_so_is_its_gradient",
        ("(1 - y * y) * (x", "(1 + y * y) * (x", "the compiled tangent's slope"),
        (".clamp(-_TANH_LIMIT, _TANH_LIMIT)", "", "the formula beyond its range"),
    ),
    *faults_in(
        "digideep/policy/observations.py",
        _ENCODERS,
        ("np.arange(size) + start for", "np.arange(size) for", "choices are counted from 0"),
        (
            "if self.is_scaled and not x.is_floating_point() else",
            "if self.is_scaled else",
            "normalised bytes are divided again",
        ),
        ("self.paths = list(spaces)", "self.paths = sorted(spaces)", "observations are joined in another order"),
        ("torch.tensor(1 / divisor", "torch.tensor(1 / divisor.max()", "all bytes are divided by the largest bound"),
    ),
    *faults_in(
        "digideep/policy/cell_passes.py",
        _STATE,
        ("flat_t, transposed).mul_(keep_t)", "flat_t, transposed)", "a GRU's gradient passes the end of an episode"),
        ("carry_c.mul_(f_t).mul_(keep_t)", "carry_c.mul_(f_t)", "so does that of an LSTM's cell"),
        ("torch.mul(c, keep_t, out=cell_t)", "cell_t.copy_(c)", "the cell outlives the episode"),
        ("gates_of_all[..., 2 * size :]", "gates_of_all[..., :size]", "the bias has another gate's gradient"),
        ("(before - candidates) * z", "(candidates - before) * z", "the gate that keeps learns the opposite"),
    ),
    *faults_in(
        "digideep/policy/cells.py",
        f"{_RECURRENT}::test_weights_come_from_the_generator_and_a_cell_starts_by_remembering "
        f"{_RECURRENT}::test_the_step_that_is_exported_is_that_of_a_walk",
        (
            "self.bias_in.data[..., size : 2 * size] = 1.0",
            "self.bias_in.data[..., :size] = 1.0",
            "another gate begins open",
        ),
        ("x_n + r * torch.baddbmm", "x_n + torch.baddbmm", "the exported GRU does not reset"),
        ("i, f, o, g = torch.baddbmm", "i, f, g, o = torch.baddbmm", "the exported LSTM's gates are exchanged"),
        (
            "nn.init.orthogonal_(matrix, generator=generator)",
            "nn.init.orthogonal_(matrix)",
            "weights come from the global generator",
        ),
        ("(torch.lerp(n, h, z),)", "(torch.lerp(h, n, z),)", "the exported GRU forgets what it should keep"),
    ),
    *faults_in(
        "digideep/policy/networks.py",
        _ENCODERS,
        ("self.second(relu(self.first(relu(x))))", "self.second(relu(self.first(x)))", "a rectifier is left out"),
        ("1 / math.sqrt(6), generator)", "math.sqrt(2), generator)", "residual blocks begin large"),
    ),
    *faults_in(
        "digideep/policy/encoders.py",
        _ENCODERS,
        ("(breadth + 1) // 2, 1.0", "(breadth + 1) // 2, scale", "every group divides by 255"),
        (
            "return relu(self.linear(self.convolutions",
            "return (self.linear(self.convolutions",
            "features of NatureCNN are negative too",
        ),
        ("images.movedim(-1, -3)", "images.transpose(-1, -3)", "images are turned on their side"),
        (
            "nn.Sequential(*groups, nn.ReLU())",
            "nn.Sequential(*groups)",
            "the last rectifier is left out",
        ),
        (
            "features.append(self.vector(self.flatten(by_path)))",
            "features.append(self.flatten(by_path))",
            "the vector's layers are passed over",
        ),
        (
            "if len(features) == 1 else torch.cat(features, -1)",
            "if len(features) == 1 else torch.cat(features[::-1], -1)",
            "images stand before vectors",
        ),
        ("joined if self.last is None else self.last(joined)", "joined", "the joint layer is passed over"),
        ("self.scale = 1 / divisor", "self.scale = 1 / 255", "all images are divided by 255"),
    ),
)
