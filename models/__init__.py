"""The dense half: multi-task towers in plain torch. Imports nothing of ours."""
