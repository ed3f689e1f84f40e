"""spicehop: a SPICE remote desktop whose live sessions move between hosts.

    import spicehop

    async with spicehop.connect("spice://127.0.0.1:5900") as session:
        await session.keyboard.type("hello")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spicehop.client.session import Session, connect

__all__ = ["Session", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The client, loaded when it is first asked for: the command line must start quickly."""
    if name in __all__:
        from spicehop.client import session

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
