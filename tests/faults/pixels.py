"""Deliberate faults in learning from pixels, and in critics that see more."""

from tests.faults.runner import faults_in

_SHIFT = "tests/memory/test_augmentation.py"
_SHARED = "tests/agent/test_shared_encoder.py"
_STEP = (
    f"{_SHARED}::test_a_step_of_drqv2_equals_plain_torch "
    f"{_SHARED}::test_the_losses_of_drqv2_are_those_of_the_paper "
    f"{_SHARED}::test_the_gradient_passes_where_noise_is_cut_off "
    f"{_SHARED}::test_the_noise_follows_its_schedule_when_acting_and_when_learning"
)
_PICTURES = (
    "tests/environment/test_pixels.py::test_a_simulation_that_diverges_ends_with_the_picture_before "
    "tests/environment/test_pixels.py::test_pictures_take_the_place_of_numbers_and_repeat_themselves_to_the_bit"
)
_VIEWS = "tests/agent/test_asymmetric_critics.py"

FAULTS = (
    *faults_in(
        "digideep/memory/augmentation.py",
        _SHIFT,
        ("size=(len(batch[name]), 2)", "size=2) * np.ones((len(batch[name]), 1), int", "one shift for a whole batch"),
        ("generator.integers(2 * pixels + 1", "generator.integers(2 * pixels", "no shift to the last place"),
        ("padded[:, :pixels] = padded[:, pixels : pixels + 1]", "padded[:, :pixels] = 0", "a black edge"),
        ("row : row + height, column : column + width", "column : column + height, row : row + width", "sides swapped"),
        ('(key, f"{key}_2")', "(key,)", "next observations stand still"),
    ),
    *faults_in(
        "digideep/agent/drqv2.py",
        _STEP,
        ("seen.values.detach()", "critics(batch.next_observations).detach()", "the actor sees the next moment"),
        (".amin(0).mean()", "[0].mean()", "the actor listens to the first critic alone"),
        (".clamp(-limit, limit)", "", "noise of any size smooths"),
        (
            "actions + ((actions + noise).clamp(-1, 1) - actions).detach()",
            "(actions + noise).clamp(-1, 1)",
            "no gradient",
        ),
        ("self.explorer.std(self.memory.n_frames)", "self.explorer.std(0)", "the noise of learning never falls"),
    ),
    *faults_in(
        "digideep/agent/off_policy.py",
        _STEP,
        (
            "self.critic_step.frozen(observations)) if",
            "self.target_critics.network(observations)) if",
            "an old encoder",
        ),
    ),
    *faults_in(
        "digideep/policy/pixel_encoders.py",
        f"{_SHARED}::test_pixels_are_centred_and_small_images_refused",
        ("planes - 0.5 / self.scale", "planes", "pixels begin at 0"),
    ),
    *faults_in(
        "digideep/environment/making/dm_control.py",
        _PICTURES,
        ("if observation is not self._seen:", "if True:", "a simulation that diverged is drawn"),
        ("camera_id=self.camera", "camera_id=-1", "another camera"),
    ),
    *faults_in(
        "digideep/policy/observations.py",
        _VIEWS,
        ("observations.critics if is_critic else observations.actor", "observations.critics", "the actor sees it all"),
    ),
)
