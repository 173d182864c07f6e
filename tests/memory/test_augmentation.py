"""Random shifts of images: by hand, all frames of a stack alike, every place as likely as any other."""

import numpy as np
import pytest
from gymnasium.spaces import Box

from digideep.agent.dqn import DQN
from digideep.memory.augmentation import crop, random_shift
from digideep.memory.generic import Memory
from digideep.memory.replay import Replay
from digideep.utility.errors import UsageError
from digideep.utility.images import ImageLayout
from tests.memory.test_replay import frames
from tests.support.replay import LINE, make_agent

FLAT, STACK, LAST, BOTH = (Box(0, 255, shape, np.uint8) for shape in ((4, 4), (3, 4, 4), (4, 4, 3), (2, 5, 6, 3)))


def shift(images, space, pixels=1, seed=0, channel_axis=None):
    """A batch of one image, shifted."""
    info = {"random_shift": pixels, "channel_axis": channel_axis, "spaces": {"x": space}}
    batch = {"x": images, "x_2": images, "/rewards": np.ones(len(images), np.float32)}
    return random_shift(batch, info | {"generator": np.random.default_rng(seed)})


def test_a_small_image_is_shifted_as_by_hand():
    image = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    layout = ImageLayout.of(Box(0, 255, (3, 3), np.uint8))
    places = np.array([[1, 1], [0, 1], [2, 0], [0, 0]])
    shifted = crop(np.stack([image] * 4), layout, 1, places)
    assert shifted.dtype == np.uint8
    assert shifted.tolist() == [
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        [[1, 2, 3], [1, 2, 3], [4, 5, 6]],  # down by one: the first row is repeated
        [[4, 4, 5], [7, 7, 8], [7, 7, 8]],  # up and to the right
        [[1, 1, 2], [1, 1, 2], [4, 4, 5]],  # down and to the right
    ]


@pytest.mark.parametrize("space", [FLAT, STACK, LAST, BOTH], ids=str)
def test_every_layout_is_shifted_along_height_and_width_as_clipped_indices_say(space):
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (50, *space.shape), dtype=np.uint8)
    layout = ImageLayout.of(space)
    places = generator.integers(5, size=(50, 2))
    axis = -3 if layout.is_channels_last else -2
    for image, found, (row, column) in zip(images, crop(images, layout, 2, places), places, strict=True):
        rows = np.clip(np.arange(layout.height) + row - 2, 0, layout.height - 1)
        columns = np.clip(np.arange(layout.width) + column - 2, 0, layout.width - 1)
        assert np.array_equal(found, image.take(rows, axis).take(columns, axis + 1))


def test_all_frames_of_a_stack_move_together_and_both_observations_by_themselves():
    picture = np.arange(16, dtype=np.uint8).reshape(4, 4)
    batch = shift(np.broadcast_to(picture, (200, 3, 4, 4)).copy(), STACK)
    for name in ("x", "x_2"):
        assert (batch[name] == batch[name][:, :1]).all()
        assert 0 < (batch[name] == picture).all((1, 2, 3)).mean() < 0.3, "by chance one in nine stands still"
    assert 0 < (batch["x"] == batch["x_2"]).all((1, 2, 3)).mean() < 0.3, "by chance one in nine is the same"
    assert batch["/rewards"].tolist() == [1] * 200


def test_every_place_is_as_likely_as_any_other():
    picture = np.arange(9, dtype=np.uint8).reshape(3, 3)
    middles = shift(np.broadcast_to(picture, (9000, 3, 3)).copy(), Box(0, 255, (3, 3), np.uint8))["x"][:, 1, 1]
    assert np.bincount(middles, minlength=9) == pytest.approx(np.full(9, 1000), abs=120)


def test_the_channel_axis_says_which_side_is_the_height():
    ambiguous = Box(0, 255, (4, 4, 4), np.uint8)
    rows = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None], (30, 4, 4, 4)).copy()  # differ along axis 1
    assert (shift(rows, ambiguous, channel_axis="first")["x"] == rows).all()
    assert (shift(rows, ambiguous, channel_axis="last")["x"] != rows).any()


def test_a_replay_shifts_stacks_that_are_stored_once_and_nothing_without_being_asked():
    memory, space = frames(6), Box(0, 255, (4, 2, 2), np.uint8)
    key = "/observations/agent"
    info = {"observations": [key], "actions": "/agents/a/actions", "gamma": 0.9, "spaces": {key: space}}

    def batch(**parameters):
        replay = Replay(batch_size=64, channel_axis="first", **parameters)
        return replay(memory, info | {"generator": np.random.default_rng(0)})[key]

    plain, shifted = batch(), batch(random_shift=1)
    assert shifted.dtype == np.uint8
    assert np.array_equal(plain, shifted), "these frames are of one colour each"
    memory.buffer[key][..., 0, 0] += 1
    assert not np.array_equal(batch(), batch(random_shift=1))


@pytest.mark.parametrize(("pixels", "words"), [(-1, "got -1"), (1.5, "random_shift"), (2000, "1000")])
def test_shifts_that_make_no_sense_are_refused(pixels, words):
    with pytest.raises(UsageError, match=words):
        Replay(batch_size=8, random_shift=pixels)


def test_a_shift_of_vectors_is_refused_before_the_first_step():
    memory = Memory(chunk_sample_len=4, buffer_chunk_len=500)
    agent = make_agent(DQN, LINE, memory=memory, replay={"random_shift": 4})
    with pytest.raises(UsageError, match=r"random_shift=4 shifts images, but the agent sees only /agent Box.* Set it"):
        agent.sampler.check_observations(memory, [], agent.sampler_info["spaces"])
