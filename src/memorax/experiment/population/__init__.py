"""Population-based training: runs side by side that copy each other and change their hyperparameters as they train."""
