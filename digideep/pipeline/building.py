"""Build the agents of a run, each with its own spaces and its own view of the memory."""

from digideep.agent.base import AgentBase
from digideep.agent.context import AgentContext
from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.memory.generic import AgentMemoryView, Memory
from digideep.parameters.component import build
from digideep.parameters.tree import Tree
from digideep.pipeline.continuing import plan_of
from digideep.pipeline.session import Session


def build_agents(
    session: Session, tree: Tree, info: EnvironmentInfo, memory: Memory, *, seed: int
) -> dict[str, AgentBase]:
    """Build the agents that a parameter tree describes, by name.

    Args:
        session: gives the device and the profiler.
        tree: with classes, from `from_plain`.
        info: of the environment.
        memory: of the run.
        seed: of the run.
    """
    agents = {}
    for name, description in tree["agents"].items():
        own = info.of_agent(name)
        num_players = len(own.players)
        context = AgentContext(
            name, AgentMemoryView(memory, name, num_players) if own.players else memory, own.observation_spaces,
            own.agent_action_space, session.device, seed, session.profiler, own.infos,
            plan_of(tree, max(num_players, 1)),
        )  # fmt: skip
        agents[name] = build(description, AgentBase, context=context)
    return agents
