"""What the app's own files say before anything runs them: files that cannot be parsed, and notes for their author."""
