"""All deliberate faults."""

from tests.faults import agent, environment, memory, pipeline, policy, post, utility, wrapping

FAULTS = (
    *agent.FAULTS, *memory.FAULTS, *environment.FAULTS, *wrapping.FAULTS, *policy.FAULTS, *pipeline.FAULTS,
    *post.FAULTS, *utility.FAULTS,
)  # fmt: skip
