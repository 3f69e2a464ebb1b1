"""What all HTTP clients have in common."""
