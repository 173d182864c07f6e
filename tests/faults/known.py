"""All deliberate faults."""

from tests.faults import (
    agent,
    environment,
    joint,
    launch,
    learning,
    memory,
    networks,
    on_policy,
    pipeline,
    policy,
    post,
    sweeps,
    utility,
    wrapping,
)  # fmt: skip

FAULTS = (
    *agent.FAULTS, *on_policy.FAULTS, *learning.FAULTS, *memory.FAULTS, *environment.FAULTS, *wrapping.FAULTS,
    *joint.FAULTS,
    *policy.FAULTS, *networks.FAULTS, *pipeline.FAULTS, *post.FAULTS, *launch.FAULTS, *sweeps.FAULTS, *utility.FAULTS,
)  # fmt: skip
