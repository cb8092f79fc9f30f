"""Small feeds with a published release of synthetic households over them, whose training view holds chosen households.

The release is written as the stages write it (`tests.support.erasures`); a fit would cost minutes. Its contract asks
for an approval from then on, so that nothing is made anew by itself: that takes Spark.
"""

from __future__ import annotations

from collections.abc import Collection

from tests.support.erasures import NAME, SOURCE, Attic
from tests.support.house import CONSENT, House
from tests.support.small_feeds import delivered

from cloakhouse.settings import Settings

APPROVAL = "  - property: approval\n    value: {approvers: [ann], timeoutHours: 24}\n"


def with_release(settings: Settings, training: Collection[int], holdout: Collection[int] = ()) -> House:
    """Return an installation with the small feeds, and households made of them published."""
    house = delivered(settings)
    source = (settings.contracts / f"{NAME}.odcs.yaml").read_text()
    contract = house.settings.contracts / f"{NAME}.odcs.yaml"
    contract.write_text(CONSENT.sub("", source))
    attic_of(house).publish(training, holdout, weeks_of(house))
    contract.write_text(contract.read_text().replace("schema:\n", f"{APPROVAL}schema:\n", 1))
    return house


def attic_of(house: House) -> Attic:
    """Return what writes runs and releases made from the partitions as they stand now."""
    parents = {
        name: {"partition": name, **partition.manifest.as_dict()}
        for name, partition in house.catalogue.protected(SOURCE).items()
    }
    runs = len(house.register.versions(NAME))
    return Attic(house.settings, runs=runs, parents=parents)


def weeks_of(house: House) -> list[str]:
    return sorted(house.catalogue.protected(SOURCE))
