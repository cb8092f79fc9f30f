"""What EKS Pod Identity puts into a pod is what the platform takes its credentials from."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import botocore.utils
import pytest
from infra.checks.kubernetes_render import kubectl, rendered
from tests.support import service_aws

from cloakhouse.keys.aws_place import Patience, Place
from cloakhouse.keys.aws_wire import open_client

TOKEN = "throwaway.token.of.the.tests"


@pytest.fixture
def agent() -> Iterator[tuple[str, list[str]]]:
    """Serve credentials as the agent does; yield its address and the tokens that it was shown."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
            body = json.dumps(
                {
                    "AccessKeyId": "ASIAOFTHEAGENT000000",
                    "SecretAccessKey": "throwaway",
                    "Token": "session",
                    "Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}",
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/credentials", shown
    server.shutdown()
    server.server_close()


def test_the_key_service_takes_the_role_of_the_pod(
    agent: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, shown = agent
    (tmp_path / "token").write_text(TOKEN)
    for name in (*service_aws.ELSEWHERE, *service_aws.CREDENTIALS, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))  # as in executor.yaml: there is none
    client = open_client(Place.parse("aws-kms:alias/cloakhouse?region=eu-central-1"), Patience())
    assert client._request_signer._credentials.get_frozen_credentials().access_key == "ASIAOFTHEAGENT000000"
    assert shown == [TOKEN]


def test_the_address_that_policies_open_is_one_that_credentials_are_taken_from() -> None:
    program = kubectl()
    assert program
    opened = {
        peer["ipBlock"]["cidr"].removesuffix("/32")
        for item in rendered("aws", program)
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"].endswith("-to-pod-identity")
        for rule in item["spec"]["egress"]
        for peer in rule["to"]
    }
    assert opened == {"169.254.170.23"}
    allowed = botocore.utils.ContainerMetadataFetcher._ALLOWED_HOSTS
    assert opened <= set(allowed)
