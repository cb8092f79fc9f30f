"""Attacks on a synthetic release, with bounds clustered by household. No IO; see `battery.attack`."""

from cloakhouse.privacy.attacks.population import AttackColumn, Population, Risk

__all__ = ["AttackColumn", "Population", "Risk"]
