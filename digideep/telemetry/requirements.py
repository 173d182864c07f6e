"""What dashboards need from others: packages, a login, a server that answers. Refused before a run starts."""

import http.client
import importlib.util
import os
import re
import urllib.error
import urllib.request

from digideep.utility.errors import UsageError

_NO_LOGIN = "--wandb has no login at W&B: run 'wandb login', or set WANDB_MODE=offline and send the run later"
_FILES_OR_SERVERS = ("http", "file:", "databricks", "/", ".")  # tracking URIs that are no database


def has_package(name: str) -> bool:
    """True if a package can be imported: more than a directory of that name, as W&B makes one where it is used."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def require_wandb() -> None:
    """Refuse `--wandb` without its package, or without a login where it is to send. Asks for nothing on the network."""
    if not has_package("wandb"):
        raise UsageError("--wandb needs a package that is missing: pip install 'digideep[wandb]'.")
    import wandb
    from wandb.errors import AuthenticationError, Error
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    if wandb_setup.singleton().most_recent_active_run is None:
        wandb.teardown()  # what an earlier run of this program found in the environment
    try:
        settings = wandb_setup.singleton().settings
        is_ready = settings._offline or settings._noop or wbauth.authenticate_session(
            host=settings.base_url, source="--wandb", prompt=False, update_session=False)  # fmt: skip
    except AuthenticationError as err:  # a key that is none
        raise UsageError(f"{_NO_LOGIN} ({err}).") from err
    except (ValueError, Error) as err:  # a setting that is none
        raise UsageError(f"--wandb is set up wrongly, see the WANDB_ variables: {' '.join(str(err).split())}") from err
    if not is_ready:
        raise UsageError(f"{_NO_LOGIN}.")


def require_mlflow() -> None:
    """Refuse `--mlflow` without its package, or without what a database as its store needs."""
    if not has_package("mlflow"):
        raise UsageError("--mlflow needs a package that is missing: pip install 'digideep[mlflow]'.")
    store = os.environ.get("MLFLOW_TRACKING_URI") or "."
    if not store.startswith(_FILES_OR_SERVERS) and not (has_package("alembic") and has_package("sqlalchemy")):
        raise UsageError(
            "MLFLOW_TRACKING_URI names a database, which needs packages that are missing: pip install mlflow."
        )


def require_answer(uri: str) -> None:
    """Make sure that a server is there, if that is the address of one. Raises: OSError: if it is not."""
    if uri.startswith("http") and not is_reachable(uri):
        raise OSError(f"{without_password(uri)} does not answer")


def without_password(text: str) -> str:
    """Return text without the names and passwords that stand in its addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def is_reachable(url: str, timeout_s: float = 5.0) -> bool:
    """True if a server answers, whatever it says, directly or through the proxy of the environment."""
    try:
        urllib.request.urlopen(without_password(url), timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True
