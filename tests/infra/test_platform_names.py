"""infra/terraform names the zones, master keys and readers that the platform really has."""

from tests.support.cloud import platform
from tests.support.cloud_access import POLICY

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.contracts.access_policy import LANDING, READ_ZONES
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.protocol import FILE, FOOTER, TOKENS
from cloakhouse.keys.signing import master
from cloakhouse.stages.erasure_worklist import ZONE as RIGHTS
from cloakhouse.stages.signing import SIGNERS
from cloakhouse.stages.token_roots import roots_of
from cloakhouse.tokens.subjects import rights_uses

CONTRACTS = load_contracts(POLICY.parent / "contracts").values()


def test_there_is_a_key_for_each_that_the_platform_asks_for():
    """Nothing in the account may make keys, so one that is missing here would stop the path."""
    zones = [zone for zone in READ_ZONES if zone != LANDING]
    columns = {f"{zone}/{use}" for zone in zones for use in (FOOTER, *(c.key_name for c in ColumnClass))}
    files = {f"{LANDING}/{FILE}", f"synthetic/{FILE}", f"{RIGHTS}/{FOOTER}", f"{RIGHTS}/direct"}
    roots = {str(root) for contract in CONTRACTS for root in roots_of(contract)}
    persons = [c.column(c.rights.subject.column) for c in CONTRACTS if c.rights.subject]
    roots |= {str(use.root) for column in persons for use in rights_uses(column)} | {str(TOKENS)}
    roles = load_policy(POLICY).roles.values()
    shared = {
        role.key for role in roles for rule in role.reads for zone in rule.zones if role.key in role.keys(rule, zone)
    }
    signing = {str(master(signer)) for signer in SIGNERS}
    assert set(platform()["keys"]) == columns | files | roots | shared | signing


def test_readers_reach_the_zones_that_the_access_policy_names():
    policy = load_policy(POLICY)
    for name, role in policy.roles.items():
        reads = set(platform()["roles"][name]["reads"])
        assert reads - {"evidence"} == {zone for rule in role.reads for zone in rule.zones}


def test_whoever_is_named_is_there():
    roles, zones, keys = platform()["roles"], set(platform()["zones"]), platform()["keys"]
    assert set(READ_ZONES) | {RIGHTS} <= zones
    assert all(set(is_["reads"]) <= zones for is_ in roles.values())
    assert all({*is_["users"], *is_["grantees"]} <= set(roles) for is_ in keys.values())
    assert set(platform()["enclave_keys"]) <= set(keys)
    people = {role for role, is_ in roles.items() if is_["trust"] == "trust_person"}
    path = {"platform", "spark", "jobs"}
    assert all(set(is_["users"]) <= path and set(is_["grantees"]) <= people for is_ in keys.values())
