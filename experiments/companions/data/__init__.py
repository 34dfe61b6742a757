"""What is trained on: a pool of samples that lanes share, and the rows of it that each lane has."""
