"""The dashboard's server speaks to this machine alone."""

import http.client
import socket

import psutil


def websocket_status(port: int, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    connection.request("GET", "/_stcore/stream", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_server_listens_on_loopback_only(dashboard):
    process = psutil.Process(dashboard.process.pid)
    listening = {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_foreign_host_is_refused_and_localhost_is_not(dashboard):
    assert websocket_status(dashboard.port, "evil.example") == 403
    assert websocket_status(dashboard.port, f"127.0.0.1:{dashboard.port}") == 101
    assert websocket_status(dashboard.port, f"localhost:{dashboard.port}") == 101


def test_other_addresses_of_this_machine_do_not_answer(dashboard):
    addresses = {a.address for group in psutil.net_if_addrs().values() for a in group if a.family == socket.AF_INET}
    for address in addresses - {"127.0.0.1"}:
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, dashboard.port)) != 0
