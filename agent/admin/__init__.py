"""AGENT_PORT: what is true now, for probes, people and Prometheus, and the few things that may be asked for."""
