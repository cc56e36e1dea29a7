"""Uploaded pictures: looked at by content, drawn anew, stored under a name of our own."""

from __future__ import annotations

import secrets
from io import BytesIO
from typing import Protocol

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils.translation import gettext as _
from PIL import Image, ImageOps, UnidentifiedImageError

from menu.errors import PictureRefused

LARGEST_BYTES = 5 * 1024 * 1024
LONGEST_SIDE_PIXELS = 4096
STORED_SIDE_PIXELS = 1200
FORMATS = ("JPEG", "PNG", "WEBP")
FOLDER = "dishes"


class SupportsRead(Protocol):
    """An upload, or any open file."""

    def read(self, size: int = ..., /) -> bytes:
        """Up to `size` bytes."""


def store_picture(upload: SupportsRead) -> str:
    """Store a picture and return its name in the storage. Raises PictureRefused, see `redraw`."""
    return store(redraw(upload))


def store(drawn: bytes) -> str:
    """Store a picture that `redraw` made, under a name nobody chose and nobody guesses."""
    return default_storage.save(f"{FOLDER}/{secrets.token_hex(16)}.webp", ContentFile(drawn))


def redraw(upload: SupportsRead) -> bytes:
    """The picture in an upload, drawn anew as WebP.

    Neither the file's name nor its type as told by the client count, and nothing of its bytes is kept: metadata and
    whatever else hides in it are left behind. Raises PictureRefused (too large, too many pixels, not JPEG, PNG or WebP,
    damaged).
    """
    content = upload.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise PictureRefused(_("图片不能超过 5 MB。"))
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            # The header tells the size: a bomb is refused before a pixel of it is unpacked.
            if max(picture.size) > LONGEST_SIDE_PIXELS:
                raise PictureRefused(_("图片的边长不能超过 4096 像素。"))
            picture.load()
            return _encode(picture)
    except UnidentifiedImageError as error:
        raise PictureRefused(_("只支持 JPEG、PNG 或 WebP 图片。")) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureRefused(_("图片已损坏，无法读取。")) from error


def _encode(picture: Image.Image) -> bytes:
    upright = ImageOps.exif_transpose(picture)
    drawn = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    drawn.thumbnail((STORED_SIDE_PIXELS, STORED_SIDE_PIXELS))
    drawn.info.clear()  # Colour profiles and comments would be written along.
    out = BytesIO()
    drawn.save(out, format="WEBP", quality=82, method=4)
    return out.getvalue()
