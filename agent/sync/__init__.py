"""The backend's files → the workspace."""
