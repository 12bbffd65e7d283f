"""Many runs on this machine."""
