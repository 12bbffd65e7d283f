"""Commands of exported models."""
