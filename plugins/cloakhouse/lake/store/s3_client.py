"""The boto3 client behind the S3 store: TLS 1.3, bounded in time, signed payloads, no ACLs.

This module imports boto3, so it is imported at the first call to a server and not before. The HTTP session is the one
of the AWS key service, with the platform's TLS context: see `cloakhouse.keys.aws_wire` for why.

Every body is sent with Content-MD5, which all servers compare, and its SHA-256 is part of the signature (SigV4,
`x-amz-content-sha256`). botocore's own trailing checksums are left off: not every compatible server understands them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from cloakhouse.keys import tls
from cloakhouse.keys.aws_place import Patience
from cloakhouse.keys.aws_place import Place as KmsPlace
from cloakhouse.keys.aws_wire import FAULTS, put_session, silence_wire
from cloakhouse.lake.store.s3_uri import Place, misconfigured

__all__ = ["FAULTS", "negotiated", "open_client"]

OTHER_REGION = "us-east-1"  # what compatible servers are told when the URI names none


def open_client(place: Place, patience: Patience) -> Any:
    """Return a new client for `place`. Raises ConfigurationError, MissingDependency, and what is in FAULTS."""
    context = tls.client_context(place.ca)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        user_agent_extra="cloakhouse",
        ignore_configured_endpoint_urls=True,  # else AWS_ENDPOINT_URL_S3 could lead past the URI's check
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
        s3={"addressing_style": "path" if place.endpoint else "auto", "payload_signing_enabled": True},
    )
    session = boto3.session.Session(botocore_session=botocore.session.Session())
    region = place.region or session.region_name or (OTHER_REGION if place.endpoint else None)
    if region is None:  # botocore would go to us-east-1
        raise misconfigured("`region=`, or a region in the AWS configuration", "neither")
    try:
        client = session.client("s3", region_name=region, endpoint_url=place.endpoint, config=config)
    except ValueError:
        raise misconfigured("an endpoint whose host is a DNS name or an address", "another form") from None
    put_session(client, KmsPlace(place.uri, place.uri), context, patience)
    silence_wire()
    return client


def negotiated(place: Place, client: Any, patience: Patience) -> tuple[str, str]:
    """Connect with the client's TLS settings and return (protocol, cipher). Raises KeyServiceError."""
    parts = urlsplit(client.meta.endpoint_url)
    if parts.scheme != "https":
        return "HTTP (loopback)", "none"
    context = tls.client_context(place.ca)
    return tls.negotiated(parts.hostname or "", parts.port or 443, context, patience.connect_s)
