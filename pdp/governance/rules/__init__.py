"""What each command does: `command, view -> plan | refused`, pure; one module per kind of fact."""
