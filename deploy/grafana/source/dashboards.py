"""All dashboards."""

from . import machine, overview, providers, runtime

ALL = (overview.DASHBOARD, machine.DASHBOARD, runtime.DASHBOARD, providers.DASHBOARD)
