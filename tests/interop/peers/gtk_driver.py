"""The stock client, which the package has for its demo, under the name that the tests first had it."""

from spicehop.demo.gtk_client import GtkClient

__all__ = ["GtkClient"]
