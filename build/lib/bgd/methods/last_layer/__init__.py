"""The last layer as a linear classifier: closed forms and programs on its inputs."""
