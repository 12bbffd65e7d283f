"""Speed of exported models."""
