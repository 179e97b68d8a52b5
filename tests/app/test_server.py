"""The dashboard's server speaks to this machine alone."""

import http.client
import socket

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect


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


def page_over_websocket(port: int, origin: str) -> str:
    """All that a session of a page from `origin` is sent until its run has ended."""
    ask = BackMsg()
    ask.rerun_script.query_string = ""
    sent = []
    url = f"ws://127.0.0.1:{port}/_stcore/stream"
    with connect(url, origin=origin, subprotocols=["streamlit"], max_size=None) as connection:
        connection.send(ask.SerializeToString())
        while True:
            message = ForwardMsg.FromString(connection.recv(timeout=200))
            sent.append(str(message))
            if message.WhichOneof("type") == "script_finished":
                return "\n".join(sent)


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


def test_a_page_of_another_port_is_shown_nothing(dashboard):
    """Streamlit accepts its websocket; the run ends with a sentence before anything of the person's is sent."""
    own = page_over_websocket(dashboard.port, f"http://127.0.0.1:{dashboard.port}")
    assert "all-MiniLM-L6-v2" in own and "own address" not in own
    for origin in (f"http://localhost:{dashboard.port}", "http://127.0.0.1:1", "http://localhost:8888"):
        others = page_over_websocket(dashboard.port, origin)
        assert "own address" in others and "all-MiniLM-L6-v2" not in others


def test_only_files_of_streamlit_answer_a_foreign_host(dashboard):
    """What comes without the websocket is the same for everybody: the empty page, the health check, what the host may do."""
    paths = {"/": b"<!doctype html", "/_stcore/health": b"ok", "/_stcore/host-config": b"allowedorigins"}
    for path, content in paths.items():
        connection = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=10)
        connection.request("GET", path, headers={"Host": "evil.example"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200 and content in body.lower() and str(dashboard.home).encode() not in body
        connection.close()
