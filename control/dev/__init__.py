"""`scripts/dev`: a folder, its control plane and its preview on one machine, for whoever writes apps or this house."""
