"""What is measured at a sample without correcting it."""
