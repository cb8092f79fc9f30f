"""A stub of EMR Serverless' API that really runs spark-submit: what StartJobRun names, in a process of its own.

moto has the API's forms, but its job runs never run. Here each one is a process with an environment of its own: what
the request says, and the credentials of a role. Its working folder is empty, and nothing tells it of the submitter's
home. A request is held against botocore's own model of the API first. What `EMR.secret@` names is read from Secrets
Manager, as the service does it. The image is this checkout, and Spark runs with `local[2]`: one machine is all
there is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.service_aws import CREDENTIALS, REGION

APPLICATION = "00emrstub0000000"
ROLE = "arn:aws:iam::123456789012:role/cloakhouse-spark"
DRIVER, SECRET = "spark.emr-serverless.driverEnv.", "EMR.secret@"
ENDED = ("SUCCESS", "FAILED", "CANCELLED")
MACHINE = {
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
PATH = re.compile(r"/applications/([0-9a-z]+)/jobruns(?:/([0-9a-z]+))?")


@dataclass
class Run:
    """A job run: its request, its state, its process."""

    id: str
    request: dict[str, Any]
    folder: Path
    state: str = "SUBMITTED"
    process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What its process wrote."""
        path = self.folder / "output"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class Emr:
    """The stub. `runs` are in order of submission; `secrets_endpoint` is where Secrets Manager is."""

    folder: Path
    secrets_endpoint: str
    endpoint: str = ""
    runs: list[Run] = field(default_factory=list)
    guard: threading.RLock = field(default_factory=threading.RLock)

    def start(self, request: dict[str, Any]) -> Run:
        """Start the job of `request`; the same run for the same token."""
        _validate("StartJobRun", request)
        with self.guard:
            for run in self.runs:
                if run.request["clientToken"] == request["clientToken"]:
                    return run
            run = Run(uuid.uuid4().hex[:16], request, self.folder / f"run-{len(self.runs)}")
            self.runs.append(run)
        threading.Thread(target=self._run, args=(run,), daemon=True).start()
        return run

    def cancel(self, run: Run) -> None:
        """End the job without a word."""
        with self.guard:
            if run.state not in ENDED:
                run.state = "CANCELLING" if run.process else "CANCELLED"
                if run.process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(run.process.pid, signal.SIGKILL)

    def _run(self, run: Run) -> None:
        import pyspark

        work = run.folder / "work"
        work.mkdir(parents=True)
        submit = run.request["jobDriver"]["sparkSubmit"]
        [configuration] = run.request["configurationOverrides"]["applicationConfiguration"]
        told = {name: self._told(value) for name, value in configuration["properties"].items()}
        variables = {name.removeprefix(DRIVER): value for name, value in told.items() if name.startswith(DRIVER)}
        properties = {name: value for name, value in told.items() if not name.startswith(DRIVER)} | MACHINE
        properties["spark.local.dir"] = str(work)
        (run.folder / "conf").touch(0o600)
        (run.folder / "conf").write_text("".join(f"{name} {value}\n" for name, value in properties.items()))
        home = Path(pyspark.__file__).parent
        machine = {name: os.environ[name] for name in ("PATH", "JAVA_HOME", "LANG") if name in os.environ}
        role = {**CREDENTIALS, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
        role["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
        own = {"HOME": str(work), "TMPDIR": str(work), "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
        command = [str(home / "bin" / "spark-submit"), "--master", "local[2]", "--properties-file"]
        command += [str(run.folder / "conf"), submit["entryPoint"], *submit["entryPointArguments"]]
        with self.guard, (run.folder / "output").open("wb") as output:
            if run.state != "SUBMITTED":
                return
            run.process = subprocess.Popen(
                command,
                env={**machine, **own, **role, **variables},
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            run.state = "RUNNING"
        code = run.process.wait()
        with self.guard:
            ended = "SUCCESS" if code == 0 else "FAILED"
            run.state = "CANCELLED" if run.state == "CANCELLING" else ended

    def _told(self, value: str) -> str:
        import boto3

        if not value.startswith(SECRET):
            return value
        client = boto3.client("secretsmanager", endpoint_url=self.secrets_endpoint, region_name=REGION)
        return str(client.get_secret_value(SecretId=value.removeprefix(SECRET))["SecretString"])

    def stop(self) -> None:
        """End what still runs."""
        for run in self.runs:
            self.cancel(run)


@contextlib.contextmanager
def emr(folder: Path, secrets_endpoint: str) -> Iterator[Emr]:
    """Yield a stub on loopback, whose jobs end with it."""
    folder.mkdir()
    stub = Emr(folder, secrets_endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            application, _ = _parted(self.path)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            run = stub.start({"applicationId": application, **body})
            self._answer({"applicationId": application, "jobRunId": run.id, "arn": _arn(run)})

        def do_GET(self) -> None:
            _, wanted = _parted(self.path)
            if wanted is None:
                self._list(parse_qs(urlsplit(self.path).query))
            else:
                self._one(wanted, lambda run: {"jobRun": _told_of(run, "jobRunId")})

        def do_DELETE(self) -> None:
            _, wanted = _parted(self.path)
            assert wanted is not None
            self._one(wanted, lambda run: stub.cancel(run) or {"applicationId": APPLICATION, "jobRunId": run.id})

        def _list(self, query: dict[str, list[str]]) -> None:
            """Answer with one run a page, as a service with many would."""
            found = [run for run in stub.runs if not query.get("states") or run.state in query["states"]]
            at = int(query.get("nextToken", ["0"])[0])
            more = {"nextToken": str(at + 1)} if at + 1 < len(found) else {}
            self._answer({"jobRuns": [_told_of(run, "id") for run in found[at : at + 1]], **more})

        def _one(self, wanted: str, answer: Any) -> None:
            for run in stub.runs:
                if run.id == wanted:
                    return self._answer(answer(run))
            return self._answer({"message": "no such job run"}, 404, "ResourceNotFoundException")

        def _answer(self, body: dict[str, Any], status: int = 200, error: str = "") -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if error:
                self.send_header("x-amzn-ErrorType", error)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stub
    finally:
        stub.stop()
        server.shutdown()
        server.server_close()


def _parted(path: str) -> tuple[str, str | None]:
    found = PATH.fullmatch(urlsplit(path).path)
    assert found, path
    assert found[1] == APPLICATION
    return found[1], found[2]


def _arn(run: Run) -> str:
    return f"arn:aws:emr-serverless:{REGION}:123456789012:/applications/{APPLICATION}/jobruns/{run.id}"


def _told_of(run: Run, id_name: str) -> dict[str, Any]:
    return {
        "applicationId": APPLICATION,
        id_name: run.id,
        "name": run.request["name"],
        "arn": _arn(run),
        "createdBy": ROLE,
        "createdAt": 0,
        "updatedAt": 0,
        "executionRole": run.request["executionRoleArn"],
        "state": run.state,
        "stateDetails": "",
        "releaseLabel": "emr-spark-8.0.0",
        "jobDriver": run.request["jobDriver"],
    }


def _validate(operation: str, request: dict[str, Any]) -> None:
    """Compare a request with botocore's model of the API; what boto3 leaves to the service is compared, too."""
    import botocore.session
    from botocore.validate import ParamValidator

    shape = botocore.session.Session().get_service_model("emr-serverless").operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    _check_patterns(request, shape)


def _check_patterns(value: Any, shape: Any) -> None:
    """Compare texts with lengths and patterns, which botocore knows and doesn't ask for."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            _check_patterns(inner, shape.members[name])
    elif shape.type_name == "list":
        for inner in value:
            _check_patterns(inner, shape.member)
    elif shape.type_name == "map":
        assert len(value) <= shape.metadata.get("max", 1 << 30)
        for name, inner in value.items():
            _check_patterns(name, shape.key)
            _check_patterns(inner, shape.value)
    elif shape.type_name == "string":
        limits = shape.serialization | shape.metadata
        assert limits.get("min", 0) <= len(value) <= limits.get("max", 1 << 30), shape.name
        if shape.name in ("ApplicationId", "ClientToken", "ConfigurationPropertyValue", "EntryPointPath"):
            assert re.fullmatch(limits["pattern"], value), shape.name
