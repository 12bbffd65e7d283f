"""The dense half: multi-task towers in plain PyTorch. Imports no other package of homerec."""
