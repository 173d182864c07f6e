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
    """Make the workers of an Explorer.

    Args:
        backend: "gymnasium", "ale" or "envpool".
        plan: what each worker runs.
        info: the environment's spaces.
        num_workers: environments in all.
        num_processes: of `VectorEnvironment`; threads of the others, 0 for one on each core.
        timeout_s: how long an answer of a worker process may take.
        in_parts: see `VectorEnvironment`.

    Raises:
        UsageError: if the backend does not fit the environment, or its package is missing.
    """
    if backend == "gymnasium":
        return VectorEnvironment(plan, info, num_workers, num_processes, timeout_s, in_parts=in_parts)
    return NativeVectorEnvironment(_NATIVE[backend], plan, info, num_workers, num_processes, in_parts=in_parts)
