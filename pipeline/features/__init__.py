"""What the columns of a table mean: features, labels, weights, and how they become numbers."""
