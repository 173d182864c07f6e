"""The choice of what steps the workers of an Explorer."""

from digideep.environment.making.make_environment import EnvironmentInfo
from digideep.environment.stepping.ale_environment import AleEnvironment
from digideep.environment.stepping.envpool_environment import EnvPoolEnvironment
from digideep.environment.stepping.native_environment import NativeEnvironment, NativeVectorEnvironment
from digideep.environment.stepping.vector_environment import VectorEnvironment
from digideep.environment.stepping.worker import WorkerPlan

_NATIVE: dict[str, type[NativeEnvironment]] = {"ale": AleEnvironment, "envpool": EnvPoolEnvironment}
BACKENDS = ("gymnasium", *_NATIVE)


def make_vector_environment(
    backend: str,
    plan: WorkerPlan,
    info: EnvironmentInfo,
    num_workers: int,
    num_processes: int,
    timeout_s: float,
    *,
    in_parts: bool,
) -> VectorEnvironment | NativeVectorEnvironment:
    """Make the workers of an Explorer: a `VectorEnvironment`, or a `NativeVectorEnvironment` of that many threads.

    Raises:
        UsageError: if the backend does not fit the environment, or its package is missing.
    """
    if backend == "gymnasium":
        return VectorEnvironment(plan, info, num_workers, num_processes, timeout_s, in_parts=in_parts)
    return NativeVectorEnvironment(_NATIVE[backend], plan, info, num_workers, num_processes, in_parts=in_parts)
