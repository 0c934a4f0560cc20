"""Execution providers: proven and measured, chosen, served with failover."""
