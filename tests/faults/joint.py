"""Deliberate faults in what actions of several entries go through."""

from tests.faults.runner import faults_in

_ENTRIES = "tests/environment/test_joint_actions.py"
_HYBRID = "tests/policy/test_joint_actions.py"

FAULTS = (
    *faults_in(
        "digideep/policy/distributions.py",
        _HYBRID,
        (
            "for choice, part in pairs]).sum(0)",
            "for choice, part in pairs]).mean(0)",
            "the mean over an action's parts",
        ),
        (
            "[choice.entropy() for choice in self.choices]).sum(0)",
            "[choice.entropy() for choice in self.choices]).mean(0)",
            "the mean entropy of an action's parts",
        ),
        (
            "[choice.mode() for choice in self.choices]",
            "[choice.mode() for choice in reversed(self.choices)]",
            "the parts of a likeliest action in another order than those of a sample",
        ),
    ),
    *faults_in(
        "digideep/environment/joint_actions.py",
        _ENTRIES,
        ("gym.spaces.Dict(list(entries.items()))", "gym.spaces.Dict(dict(entries))", "entries sorted by their names"),
        ("require_exact(part, np.float32)", "require_exact(part, np.float64)", "numbers that float32 mixes up"),
        (
            "scale(actions[:, c] if is_box else self._whole(actions[:, c]))",
            "scale(self._whole(actions[:, c]))",
            "fractions of a Box cut off",
        ),
        ("ends = np.cumsum(", "ends = np.sort(", "columns of entries as wide as their numbers are many"),
    ),
    *faults_in(
        "digideep/environment/seats.py",
        _ENTRIES,
        ("shared = None if own.players else senses", "shared = None", "what agents share normalised once for each"),
        ("buffers.seat(self.info.columns)", "buffers.seat(slice(0, None))", "an agent writes over the others' actions"),
    ),
    *faults_in(
        "digideep/environment/stepping/worker_group.py",
        _ENTRIES,
        ("= list(actions.spaces)", "= sorted(actions.spaces)", "another order of entries not noticed"),
    ),
    *faults_in(
        "digideep/environment/making/environment_info.py",
        _ENTRIES,
        ('(self.agents or {"": self}).items():', '{"": self}.items():', "a memory sized without the agents' actions"),
    ),
)
