"""What the backend is told."""
