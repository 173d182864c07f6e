"""All deliberate faults."""

from tests.faults import (
    agent,
    ahead,
    demonstrations,
    environment,
    goals,
    joint,
    launch,
    learning,
    memory,
    methods,
    networks,
    on_policy,
    pipeline,
    pixels,
    policy,
    post,
    recurrent_replay,
    several,
    sweeps,
    utility,
    wrapping,
)  # fmt: skip

FAULTS = (
    *agent.FAULTS, *on_policy.FAULTS, *learning.FAULTS, *memory.FAULTS, *environment.FAULTS, *wrapping.FAULTS,
    *policy.FAULTS, *networks.FAULTS, *pipeline.FAULTS, *post.FAULTS, *several.FAULTS, *launch.FAULTS,
    *sweeps.FAULTS, *utility.FAULTS, *goals.FAULTS, *joint.FAULTS, *demonstrations.FAULTS, *methods.FAULTS,
    *recurrent_replay.FAULTS, *pixels.FAULTS, *ahead.FAULTS,
)  # fmt: skip
