"""Ways to correct a sample. A method is a class here and a yaml under `experiments/conf/method` that names it."""
