"""A trial whether an environment can be drawn."""

import sys

from digideep.environment.closing import close_environment
from digideep.environment.making.film import Pictures
from digideep.environment.making.make_environment import EnvironmentSpec, make_environment
from digideep.utility.user_code import in_words, is_ours


def why_no_video(spec: EnvironmentSpec) -> str | None:
    """Try to draw one image. Returns: what is wrong, None if nothing is."""
    # A viewer of gymnasium's that could be built by half only complains when it is deleted.
    hook, sys.unraisablehook = sys.unraisablehook, lambda complaint: None
    try:
        return _try_to_draw(spec)
    finally:
        sys.unraisablehook = hook


def _try_to_draw(spec: EnvironmentSpec) -> str | None:
    environment = None
    try:
        environment = make_environment(spec, render_mode="rgb_array")
        environment.reset(seed=0)
        return None if Pictures().take(environment.render()) is not None else "render() gives no picture"
    except BaseException as err:  # drivers and optional packages fail in their own ways
        if is_ours(err):
            raise
        return in_words(err)
    finally:
        if environment is not None:
            close_environment(environment, spec.name)
