"""Pixels to draw messages: what a client lacks, found by digests and sent by the means that cost least. Sans-I/O."""

from spicehop.painting.images import SharedImages
from spicehop.painting.painter import Painter
from spicehop.painting.settings import ImageCompression, PaintSettings, Video
from spicehop.painting.state import ViewState
from spicehop.painting.view import ClientView

__all__ = ["ClientView", "ImageCompression", "PaintSettings", "Painter", "SharedImages", "Video", "ViewState"]
