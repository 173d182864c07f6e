"""Encoders: shapes, layouts, one-hot vectors, fusion, and what they refuse."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from torch.nn.functional import conv2d, max_pool2d

from digideep.parameters.component import describe
from digideep.policy.continuous import SquashedGaussianPolicy
from digideep.policy.discrete import ActionValues
from digideep.policy.encoders import Fusion, ImageEncoder, ImpalaResNet, NatureCNN, VectorEncoder, make_encoder
from digideep.policy.observations import Flatten, to_channels_last
from digideep.policy.stochastic import StochasticPolicy
from digideep.utility.errors import UsageError
from digideep.utility.images import is_image

VECTOR = Box(-1, 1, (3,), np.float32)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(*shape):
    return Box(0, 255, shape, np.uint8)


def noise(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator(seed))


@pytest.mark.parametrize(
    "space",
    [Discrete(2**62), Discrete(10**9), Discrete(100_001), MultiDiscrete([10**6] * 2), MultiDiscrete([2**62] * 4)],
)
def test_more_choices_than_can_be_one_hot_are_refused(space):
    with pytest.raises(UsageError, match=r"The observation /far has [\d,]+ choices, one-hot: expected 100,000 at most"):
        Flatten({"/near": Discrete(100_000), "/far": space})


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (pixels(84, 84), True),
        (pixels(4, 84, 84), True),
        (pixels(4, 84, 84, 3), True),
        (Box(0, 1, (64, 64, 3), np.float32), True),
        (pixels(128), False),
        (Box(-1, 1, (10, 17), np.float32), False),  # a window of past values
        (Discrete(3), False),
        (MultiBinary((3, 3)), False),
    ],
)
def test_bytes_of_two_dimensions_and_anything_of_three_is_an_image(space, expected):
    assert is_image(space) == expected


@pytest.mark.parametrize("shape", [(8, 9), (3, 8, 9), (8, 9, 3), (4, 8, 9, 3), (4, 3, 8, 9)])
def test_the_smaller_end_holds_the_channels_and_stacks_become_channels(shape):
    encoder, images = ImageEncoder(pixels(*shape)), noise(2, *shape)
    planes = encoder.planes(images)
    channels = {2: 1, 3: 3, 4: 12}[len(shape)]
    assert (encoder.channels, encoder.height, encoder.width) == (channels, 8, 9)
    assert planes.shape == (2, channels, 8, 9)
    assert planes.dtype == torch.float32
    assert planes.is_contiguous(memory_format=torch.channels_last)
    expected = {
        (8, 9): lambda: images[:, None],
        (3, 8, 9): lambda: images,
        (8, 9, 3): lambda: images.permute(0, 3, 1, 2),
        (4, 8, 9, 3): lambda: images.permute(0, 1, 4, 2, 3).reshape(2, 12, 8, 9),
        (4, 3, 8, 9): lambda: images.reshape(2, 12, 8, 9),
    }[shape]()
    assert torch.equal(planes, expected.float())


def test_interleaving_moves_channels_to_the_end_of_memory_and_changes_no_value():
    observations = {"/stack": noise(3, 4, 8, 9), "/colour": noise(3, 8, 9, 3), "/vector": torch.ones(3, 5)}
    laid_out = to_channels_last(observations)
    assert all(torch.equal(laid_out[path], each) for path, each in observations.items())
    assert laid_out["/stack"].stride() == (8 * 9 * 4, 1, 9 * 4, 4)
    assert laid_out["/stack"][torch.tensor([2, 0])].stride() == laid_out["/stack"].stride()  # minibatches keep it
    assert laid_out["/colour"] is observations["/colour"]  # whose channels are at the end already
    assert to_channels_last(observations["/vector"]) is observations["/vector"]


def test_floats_are_not_scaled():
    encoder, images = ImageEncoder(Box(0, 1, (3, 8, 8), np.float32)), torch.rand(2, 3, 8, 8, generator=generator())
    assert torch.equal(encoder.planes(images), images)
    assert encoder.scale == 1


@pytest.mark.parametrize(("high", "dtype"), [(255, np.uint8), (3, np.uint8), (255, np.float32), (1, np.uint8)])
def test_pixels_reach_the_first_convolution_divided_by_their_bound(high, dtype):
    unit = Box(0, 1, (3, 40, 44), np.float32)
    space, images = Box(0, high, (3, 40, 44), dtype), torch.rand(2, 3, 40, 44, generator=generator()) * high
    images = images.round().to(torch.uint8 if dtype == np.uint8 else torch.float32)
    expected = NatureCNN(unit, generator())(images.float() / high)
    assert torch.allclose(NatureCNN(space, generator())(images), expected, atol=1e-6)


def test_the_axis_of_the_channels_can_be_given():
    space, images = pixels(8, 8, 8), noise(2, 8, 8, 8)
    assert torch.equal(ImageEncoder(space).planes(images), images.float())
    last = ImageEncoder(space, channel_axis="last")
    assert torch.equal(last.planes(images), images.permute(0, 3, 1, 2).float())
    fusion = make_encoder({"/a": space}, generator(), describe(Fusion, channel_axis="last"))
    assert fusion.images[0].layout.is_channels_last
    assert str(fusion) == "/a 8 x 8 pixels, 8 channels last, divided by 255"
    with pytest.raises(UsageError, match="channel_axis is of images, but the policy sees only"):
        make_encoder(VECTOR, generator(), describe(Fusion, channel_axis="last"))


def test_bytes_are_divided_by_their_bounds_each_by_its_own():
    few, mixed = Box(0, 3, (2,), np.uint8), Box(np.zeros(2, np.uint8), np.array([4, 255], np.uint8), dtype=np.uint8)
    flatten = Flatten({"/few": few, "/mixed": mixed, "/numbers": Box(0, 3, (2,), np.int32)})
    bytes_of = {"/few": torch.tensor([[3, 0]], dtype=torch.uint8), "/mixed": torch.tensor([[2, 51]], dtype=torch.uint8)}
    joined = flatten({**bytes_of, "/numbers": torch.tensor([[3, 1]], dtype=torch.int32)})
    assert joined[0].tolist() == pytest.approx([1, 0, 0.5, 0.2, 3, 1])
    assert str(flatten) == (
        "/few 2 numbers divided by 3, /mixed 2 numbers divided by 4 to 255, /numbers 2 numbers as given"
    )


def test_bytes_from_0_to_255_keep_their_arithmetic_to_the_last_bit():
    x = torch.arange(256, dtype=torch.uint8)[None]
    assert torch.equal(Flatten({"/a": pixels(256)})({"/a": x}), x.float() * (1 / 255))


def test_bytes_that_a_normaliser_has_made_floats_are_taken_as_they_are():
    x = torch.tensor([[-0.5, 1.5]])
    assert torch.equal(Flatten({"/a": pixels(2)})({"/a": x}), x)


def test_vectors_are_joined_in_order_with_choices_one_hot():
    spaces = {
        "/bits": MultiBinary(2),
        "/many": MultiDiscrete([2, 3], start=[0, 10]),
        "/one": Discrete(3, start=-1),
        "/bytes": pixels(2),
        "/grid": Box(-1, 1, (1, 2), np.float32),
        "/number": Box(-1, 1, (), np.float32),
    }
    observations = {
        "/bits": torch.tensor([[1, 0]], dtype=torch.int8),
        "/many": torch.tensor([[1, 12]]),
        "/one": torch.tensor([-1]),
        "/bytes": torch.tensor([[255, 51]], dtype=torch.uint8),
        "/grid": torch.tensor([[[0.25, -0.5]]]),
        "/number": torch.tensor([0.75]),
    }
    flatten = Flatten(spaces)
    joined = flatten(observations)
    expected = [1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0.2, 0.25, -0.5, 0.75]
    assert joined.dtype == torch.float32
    assert joined[0].tolist() == pytest.approx(expected)
    assert flatten.out_features == len(expected)


def test_nature_cnn_is_the_one_of_the_paper():
    encoder = NatureCNN(pixels(4, 84, 84), generator())
    shapes = [tuple(parameter.shape) for name, parameter in encoder.named_parameters() if "weight" in name]
    assert shapes == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136)]
    weight = encoder.convolutions[2].weight.detach().reshape(64, -1)
    torch.testing.assert_close(weight @ weight.T, 2 * torch.eye(64), atol=1e-4, rtol=0)
    assert encoder(noise(2, 4, 84, 84)).shape == (2, encoder.out_features) == (2, 512)


def test_the_memory_layout_does_not_change_the_result():
    encoder, images = NatureCNN(pixels(4, 44, 40), generator()), noise(3, 4, 44, 40)
    first, *rest = encoder.convolutions
    hidden = torch.nn.functional.conv2d((images.float() / 255).contiguous(), first.weight, first.bias, first.stride)
    for layer in rest:
        hidden = layer(hidden)
    expected = torch.relu(encoder.linear(hidden.flatten(1)))
    torch.testing.assert_close(encoder(images), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cls", [NatureCNN, ImpalaResNet])
def test_bfloat16_changes_features_little_and_keeps_weights_and_gradients_in_single_precision(cls):
    images = noise(3, 4, 44, 40)
    exact, rough = (cls(pixels(4, 44, 40), generator(), precision=precision) for precision in ("fp32", "bf16"))
    features = rough(images)
    assert features.dtype == torch.float32
    assert not torch.equal(features, exact(images))
    assert (features - exact(images)).norm() < 0.03 * exact(images).norm()
    torch.testing.assert_close(rough(images[:1]), features[:1], atol=1e-3, rtol=0.01)
    features.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in rough.parameters())
    with pytest.raises(UsageError, match="precision must be fp32 or bf16, got 'fp16'"):
        cls(pixels(4, 44, 40), generator(), precision="fp16")


@pytest.mark.parametrize(("width", "depths"), [(1, [16, 32, 32]), (2, [32, 64, 64])])
def test_the_resnet_has_fifteen_convolutions_in_three_groups(width, depths):
    encoder = ImpalaResNet(pixels(10, 7, 3), generator(), width=width)
    convolutions = [module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 15
    assert [layer.out_channels for layer in convolutions[::5]] == depths
    assert encoder.linear.in_features == depths[-1] * 2 * 1
    features = encoder(noise(2, 10, 7, 3))
    assert features.shape == (2, 256)
    assert 0.05 < features.std() < 5


def test_the_resnet_is_the_one_of_the_paper():
    encoder, images = ImpalaResNet(pixels(10, 7, 3), generator()), noise(2, 10, 7, 3)
    convolutions = [module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    x = images.permute(0, 3, 1, 2) / 255
    for first, *blocks in (convolutions[:5], convolutions[5:10], convolutions[10:]):
        x = conv2d(x, first.weight, first.bias, padding=1)
        x = max_pool2d(x, 3, stride=2, padding=1)
        for one, two in (blocks[:2], blocks[2:]):
            inner = conv2d(torch.relu(x), one.weight, one.bias, padding=1)
            x = x + conv2d(torch.relu(inner), two.weight, two.bias, padding=1)
    expected = torch.relu(encoder.linear(torch.relu(x).flatten(1)))
    torch.testing.assert_close(encoder(images), expected, atol=1e-5, rtol=1e-5)
    gains = [1, *[2**0.5, 6**-0.5] * 2] * 3  # of orthogonal weights
    for layer, gain in zip(convolutions, gains, strict=True):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(gain, rel=1e-4)


def test_fusion_puts_vectors_first_and_gives_each_image_its_own_network():
    spaces = {"/left": pixels(8, 8, 3), "/speed": VECTOR, "/right": pixels(40, 40), "/gear": Discrete(2)}
    encoder = make_encoder(spaces, generator())
    assert [type(network) for network in encoder.images] == [ImpalaResNet, NatureCNN]
    observations = {
        "/left": noise(2, 8, 8, 3),
        "/speed": torch.tensor([[0.1, 0.2, 0.3]] * 2),
        "/right": noise(2, 40, 40),
        "/gear": torch.tensor([0, 1]),
    }
    features = encoder(observations)
    assert features.shape == (2, encoder.out_features) == (2, 5 + 256 + 512)
    assert features[1, :5].tolist() == pytest.approx([0.1, 0.2, 0.3, 0, 1])
    torch.testing.assert_close(features[:, 5:261], encoder.images[0](observations["/left"]))


def test_a_description_says_how_images_and_vectors_are_treated():
    spaces = {"/image": pixels(40, 40, 3), "/vector": VECTOR}
    encoder = make_encoder(spaces, generator(), describe(ImpalaResNet, features=10))
    assert isinstance(encoder.images[0], ImpalaResNet)
    assert encoder.out_features == 13
    full = describe(
        Fusion, image=describe(NatureCNN, features=20), vector=describe(VectorEncoder, hidden_sizes=[6]), features=7
    )
    encoder = make_encoder(spaces, generator(), full)
    assert encoder.last[0].in_features == 26
    features = encoder({"/image": noise(2, 40, 40, 3), "/vector": torch.zeros(2, 3)})
    assert features.shape == (2, encoder.out_features) == (2, 7)


def test_a_vector_needs_no_encoder_but_may_have_one():
    x = torch.zeros(2, 3)
    assert make_encoder(VECTOR, generator())(x) is x
    assert make_encoder(VECTOR, generator(), describe(VectorEncoder, hidden_sizes=[5]))(x).shape == (2, 5)
    policy = StochasticPolicy(VECTOR, Discrete(2), generator(), hidden_sizes=[4])
    assert policy.encoder is None


def test_actor_and_critic_share_the_trunk_of_images_and_heads_may_follow_it():
    policy = StochasticPolicy({"/agent": pixels(36, 36)}, Discrete(3), generator(), hidden_sizes=[])
    observations = {"/agent": noise(5, 36, 36)}
    log_p, entropy, values = policy(observations, torch.tensor([0, 1, 2, 0, 1]))
    assert log_p.shape == entropy.shape == values.shape == (5,)
    torch.testing.assert_close(values, policy.value(observations))
    values.sum().backward()
    assert all(parameter.grad is not None for parameter in policy.encoder.parameters())
    assert policy.head.linear.weight.grad is None


@pytest.mark.parametrize("is_dueling", [False, True])
def test_action_values_of_images_follow_the_512_features(is_dueling):
    values = ActionValues({"/agent": pixels(36, 36)}, Discrete(3), generator(), hidden_sizes=[], is_dueling=is_dueling)
    assert values.advantages[0].weight.shape == (1, 512, 3)
    assert values({"/agent": noise(5, 36, 36)}).shape == (5, 3)


def test_continuous_policies_give_the_actor_and_the_critics_an_encoder_each():
    policy = SquashedGaussianPolicy(
        {"/image": pixels(8, 8), "/vector": VECTOR}, Box(-1, 1, (2,)), generator(), hidden_sizes=[4]
    )
    observations = {"/image": noise(5, 8, 8), "/vector": torch.zeros(5, 3)}
    actions = policy.act(observations, deterministic=True).actions
    assert actions.shape == (5, 2)
    assert policy.critics(observations, actions).shape == (2, 5)
    assert policy.critics.encoder is not policy.actor.encoder
    assert not torch.equal(*(next(part.encoder.parameters()) for part in (policy.actor, policy.critics)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NatureCNN(pixels(20, 84, 3), generator()), "at least 36 x 36 pixels, got 20 x 84. Take ImpalaResNet"),
        (lambda: NatureCNN(VECTOR, generator()), "NatureCNN needs images"),
        (lambda: make_encoder(VECTOR, generator(), describe(NatureCNN)), "NatureCNN needs images, but the policy sees"),
        (lambda: make_encoder({"/a": pixels(8, 8)}, generator(), describe(VectorEncoder)), "VectorEncoder needs vec"),
        (lambda: make_encoder({"/a": pixels(8, 8)}, generator(), describe(StochasticPolicy, hidden_sizes=[1])),
         "Encoder is expected"),
        (lambda: Flatten({"/a": gym.spaces.Text(3)}), "A policy cannot see Text"),
        (lambda: StochasticPolicy(VECTOR, Discrete(2), generator(), hidden_sizes=[]), "hidden_sizes must be a list"),
        (lambda: ImpalaResNet(pixels(8, 8), generator(), width=0), "width must be an integer of at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
