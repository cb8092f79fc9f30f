"""Where data may be: a contract pins zones to regions, and a zone is opened only if all that holds it is there.

Three places count, each looked at before anything of a pinned zone is written or read:

1. the store: of an S3 server the region that the URI declares, and what the server itself tells of the bucket, since
   boto3 would follow a bucket into another region without a word; of a folder the region of this machine;
2. the key service: at AWS KMS and OpenBao the region that the URI declares; else that of this machine;
3. this machine, where it says where it is (CLOAKHOUSE_REGION): its memory and its encrypted copies hold data, too.

What isn't declared is refused as another region is: nobody could tell otherwise where the data went.

Source: GDPR Art. 44 to 46; AWS S3 API, HeadBucket (`x-amz-bucket-region`) and GetBucketLocation.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import CloakhouseError, ResidencyRefused
from cloakhouse.keys.aws_place import SCHEME as KMS
from cloakhouse.keys.aws_place import Place as KmsPlace
from cloakhouse.keys.openbao_uri import parse as parse_bao
from cloakhouse.lake.store.opening import is_folder
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_uri import Place
from cloakhouse.settings import Settings

NOT_TOLD = ""
RESIDENCY = "residency"  # in the card of a release: the regions that its contract keeps it in
AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
OLD_NAMES = {"EU": "eu-west-1"}  # of GetBucketLocation


@dataclass(frozen=True)
class Location:
    """One place that holds data or keys: the setting that names it, its region (empty: not told), and a remedy."""

    what: str
    region: str
    remedy: str


def check_residency(settings: Settings, contract: Contract, *zones: str) -> None:
    """Return if every one of `zones` that `contract` pins lies where it may.

    Raises ResidencyRefused (`residency.region`, `residency.undeclared`), ConfigurationError, StorageError.
    """
    for zone in zones:
        check_regions(settings, f"{contract.name}, zone {zone}", contract.rights.residency.get(zone, ()))


def check_residency_of(settings: Settings, datasets: Iterable[str], zone: str) -> None:
    """Do the same for `zone` of other datasets, by their contracts. Raises as above, ContractError."""
    from cloakhouse.contracts.parser import load_contracts  # which takes YAML; readers import this module without it

    contracts = load_contracts(settings.contracts)
    for name in datasets:
        check_residency(settings, contracts[name], zone)


def residency_of(contract: Contract, zone: str) -> dict[str, list[str]]:
    """Return what the card of a release says, whose readers may have no contract; empty where nothing is pinned."""
    regions = contract.rights.residency.get(zone, ())
    return {RESIDENCY: list(regions)} if regions else {}


def check_regions(settings: Settings, where: str, allowed: Collection[str]) -> None:
    """Return if store, keys and this machine are in one of the regions `allowed`; empty allows any. Raises as above."""
    for place in locations(settings) if allowed else ():
        if place.region not in allowed:
            raise _refused(where, place, allowed)


def locations(settings: Settings) -> Iterator[Location]:
    """Yield every place that holds data or keys of this installation."""
    here = settings.region
    remedy = "set CLOAKHOUSE_REGION to the region of this machine, if it is one of these"
    if is_folder(settings):
        yield Location("the lake's folder", here, remedy)
    else:
        yield _store(Place.parse(settings.store))
    yield _keys(settings, remedy)
    if here:
        yield Location("this machine", here, "read and write it from a machine in one of these regions")


def _store(place: Place) -> Location:
    declared, told = place.region or NOT_TOLD, told_by_server(place)
    remedy = "use a bucket of one of these regions, and name it by `region=` in CLOAKHOUSE_LAKE"
    if declared and told and declared != told:
        return Location("CLOAKHOUSE_LAKE, whose bucket is in another region than it declares", told, remedy)
    return Location("CLOAKHOUSE_LAKE", _same_host(declared, place.endpoint), remedy)


@functools.lru_cache(maxsize=16)
def told_by_server(place: Place) -> str:
    """Return the region that the server tells for the bucket; empty when a compatible server doesn't tell.

    Raises ResidencyRefused when AWS doesn't tell, StorageError, ConfigurationError.
    """
    calls, not_done = Calls(place), "nothing of the lake was read or written"
    answer = calls.call("head_bucket", place.uri, not_done)
    told = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if told:
        return str(told)
    try:
        constraint = calls.call("get_bucket_location", place.uri, not_done).get("LocationConstraint")
    except CloakhouseError:
        if is_aws(place.endpoint):
            raise
        return NOT_TOLD
    unnamed = "us-east-1" if is_aws(place.endpoint) else NOT_TOLD  # AWS leaves the first region's name empty
    return OLD_NAMES.get(str(constraint), str(constraint)) if constraint else unnamed


def is_aws(endpoint: str | None) -> bool:
    """Return whether `endpoint` is one of AWS's own; None is the public one of a region."""
    return endpoint is None or (urlsplit(endpoint).hostname or "").endswith(AWS_HOSTS)


def _keys(settings: Settings, remedy: str) -> Location:
    scheme = settings.keys.partition(":")[0]
    if settings.keys.startswith(KMS):
        place = KmsPlace.parse(settings.keys)
        told = "name a region of these by `region=` in CLOAKHOUSE_KEYS, where the keys are"
        return Location("CLOAKHOUSE_KEYS", _same_host(place.region or NOT_TOLD, place.endpoint), told)
    if scheme in ("bao", "vault"):
        told = "name the region of the server by `region=` in CLOAKHOUSE_KEYS, if it is one of these"
        return Location("CLOAKHOUSE_KEYS", parse_bao(settings.keys).region, told)
    return Location("the key service on this machine", settings.region, remedy)


def _same_host(declared: str, endpoint: str | None) -> str:
    """Return the region that is declared; that of an endpoint at AWS is part of its name, and must be the same."""
    host = urlsplit(endpoint).hostname or "" if endpoint else ""
    if not host or not is_aws(endpoint) or declared in host.split("."):
        return declared
    return NOT_TOLD


def pinned(contracts: Mapping[str, Contract]) -> Iterator[tuple[Contract, str]]:
    """Yield each contract that pins a zone, with the zone, in order."""
    for _, contract in sorted(contracts.items()):
        yield from ((contract, zone) for zone in contract.rights.residency)


def _refused(where: str, place: Location, allowed: Collection[str]) -> ResidencyRefused:
    return ResidencyRefused(
        where=where,
        expected=f"{place.what} in " + " or ".join(sorted(allowed)) + ", where the contract keeps this zone",
        found=f"region {place.region}" if place.region else "no region that is declared, or one that its host denies",
        not_done="nothing of this zone was read or written",
        remedy=place.remedy,
        code="region" if place.region else "undeclared",
    )
