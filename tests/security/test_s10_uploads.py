"""Whatever is uploaded, only a picture that we drew ourselves is kept, and nothing a browser could run is served."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image
from pytest_django import Settings

from menu import services
from menu.errors import PictureRefused
from tests.menu.factories import picture

pytestmark = pytest.mark.once
SCRIPT = b"<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def gif() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "GIF")
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that claims 40,000 by 40,000 pixels."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"<!doctype html>" + SCRIPT,
        b"GIF89a/*" + SCRIPT + b"*/=1;",
        gif(),
        b"%PDF-1.7",
        b"\xff\xd8\xff\xe0" + SCRIPT,
        picture("PNG")[:60],
        bomb(),
        b"PK\x03\x04" + b"\x00" * 100,
    ],
)
def test_s10_what_is_no_picture_is_refused(content: bytes, media: Path) -> None:
    with pytest.raises(PictureRefused):
        services.store_picture(SimpleUploadedFile("dish.png", content, "image/png"))
    assert list(media.rglob("*.*")) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_s10_nothing_of_the_upload_is_kept(kind: str, media: Path) -> None:
    """A picture that is a page as well: what follows its data, and what hides in it, is gone."""
    name = services.store_picture(io.BytesIO(picture(kind) + SCRIPT))
    kept = (media / name).read_bytes()
    assert (SCRIPT in kept, kept[8:12]) == (False, b"WEBP")


@pytest.mark.parametrize(
    "called", ["../../etc/passwd", "a/../../b.html", "x.php\x00.png", "/etc/cron.d/x", "a.svg", "·.png"]
)
def test_s10_the_name_is_ours(called: str, media: Path) -> None:
    upload = io.BytesIO(picture("PNG"))
    upload.name = called
    name = services.store_picture(upload)
    assert re.fullmatch(r"dishes/[0-9a-f]{32}\.webp", name)
    assert [file.relative_to(media).as_posix() for file in media.rglob("*.*")] == [name]


def test_s10_a_picture_is_served_as_one_and_may_do_nothing() -> None:
    name = services.store_picture(io.BytesIO(picture("PNG")))
    answer = Client().get(f"/media/{name}")
    assert (answer.status_code, answer["Content-Type"], answer["X-Content-Type-Options"]) == (
        200,
        "image/webp",
        "nosniff",
    )
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"
    assert "immutable" in answer["Cache-Control"]
    assert b"".join(answer.streaming_content)[8:12] == b"WEBP"  # type: ignore[attr-defined]


def test_s10_nothing_else_in_the_folder_is_served(media: Path) -> None:
    (media / "dishes").mkdir()
    (media / "dishes" / "page.html").write_bytes(SCRIPT)
    (media / ("dishes/" + "a" * 32 + ".svg")).write_bytes(SCRIPT)
    (media.parent / "secret.webp").write_bytes(b"x")
    for path in (
        "",
        "dishes/",
        "dishes/page.html",
        "dishes/" + "a" * 32 + ".svg",
        "../secret.webp",
        "%2e%2e/secret.webp",
    ):
        assert Client().get(f"/media/{path}").status_code == 404, path
    assert Client().post("/media/dishes/" + "a" * 32 + ".webp").status_code == 405
