"""What goes wrong with the data, apart from what reads them: a command says it without torch."""


class DataError(RuntimeError):
    """The data set could not be had, or is not the one expected."""
