"""One file a command of launch.py: its parser beside its work."""
