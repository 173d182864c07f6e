"""Ports and addresses of dashboards: refused where they cannot be had, with the reason that it is."""

import socket
import threading
import time

import pytest

from digideep.main import main
from digideep.telemetry import visdom
from digideep.telemetry.server_process import require_address
from digideep.telemetry.visdom import is_answering
from digideep.utility.errors import UsageError
from tests.support.helpers import CLASSIC, tiny


@pytest.mark.parametrize("address", ["8.8.8.8", "192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_refused(address, tmp_path, capsys):
    with pytest.raises(UsageError, match=f"--bind {address} is no address of this machine"):
        require_address(address)
    argv = ["--params", CLASSIC, "--cpanel", tiny(), "--session-path", str(tmp_path / "s"), "--bind", address]
    for flag in ("--visdom", "--tensorboard"):
        assert main([*argv, flag]) == 2
        assert "is no address of this machine" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_an_address_of_this_machine_is_taken():
    require_address("127.0.0.1")
    require_address("0.0.0.0")


def test_a_server_that_is_about_to_end_is_waited_for():
    server = socket.create_server(("127.0.0.1", 0))
    threading.Timer(0.5, server.close).start()
    threading.Thread(target=_hang_up, args=(server,), daemon=True).start()
    assert is_answering(server.getsockname()[1], "127.0.0.1") is False


def test_a_server_that_stays_is_refused(monkeypatch):
    monkeypatch.setattr(visdom, "_LEAVING_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_hang_up, args=(server,), daemon=True).start()
        start = time.monotonic()
        with pytest.raises(UsageError, match="is taken by something that is not visdom"):
            is_answering(server.getsockname()[1], "127.0.0.1")
        assert time.monotonic() - start >= 0.5


def _hang_up(server):
    """Take connections, and end each without an answer."""
    server.settimeout(0.1)
    while True:
        try:
            server.accept()[0].close()
        except TimeoutError:
            continue
        except OSError:
            return
