"""Airflow's plugin for auditors: mounts the console at /auditor, behind Airflow's auth manager, and names it in the
navigation. Wiring only; the console itself is made when somebody opens it."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from cloakhouse.console.deferred import App, Deferred


def console() -> App:
    """Return the console of the installation that environment and connections name."""
    from cloakhouse.console.app import create_app
    from cloakhouse.flow import engines
    from cloakhouse.flow.console_access import AirflowGate

    return create_app(engines.settings(), AirflowGate())


class AuditorConsole(AirflowPlugin):
    """The console, as Airflow sees it."""

    name = "auditor_console"
    fastapi_apps = [{"app": Deferred(console), "url_prefix": "/auditor", "name": "Auditor"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Auditor", "href": "/auditor/", "destination": "nav", "url_route": "auditor"}
    ]
