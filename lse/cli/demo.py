"""`lse demo`."""


def demo() -> None:
    """Demo."""
