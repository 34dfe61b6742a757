"""The thesis as data: its tables and figures, its claims, the values that it prints."""
