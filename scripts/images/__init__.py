"""What scripts/image does: builds runtime/Dockerfile, runs it as Fly would, and says what it weighs and costs."""
