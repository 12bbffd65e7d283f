"""Multi-task towers."""
