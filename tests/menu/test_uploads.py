"""Uploaded pictures: by content, drawn anew, on the local disk or an S3-compatible store."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import environ
import pytest
import requests
from django.core.files.storage import default_storage
from moto.server import ThreadedMotoServer
from PIL import Image, PngImagePlugin
from pytest_django import Settings

from menu import services, uploads
from menu.errors import PictureRefused
from tests.menu.factories import make_dish, make_shop, picture
from waimai.infra import parts
from waimai.infra.errors import ServiceUnavailable

READING = [
    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::dishes-of-waimai/*"}
]


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> Path:
    """A folder for uploads."""
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def stored(content: bytes) -> Image.Image:
    with default_storage.open(services.store_picture(BytesIO(content))) as file:
        return Image.open(BytesIO(file.read()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_stored_as_webp(kind: str) -> None:
    kept = stored(picture(kind))
    assert (kept.format, kept.size) == ("WEBP", (64, 48))


def test_the_name_is_nobodys_choice(media: Path) -> None:
    upload = BytesIO(picture())
    upload.name = "../../etc/passwd.php"
    names = {services.store_picture(upload), services.store_picture(BytesIO(picture()))}
    assert len(names) == 2
    assert all(name.startswith("dishes/") and name.endswith(".webp") and len(name) == 44 for name in names)
    assert {path.parent for path in media.rglob("*.webp")} == {media / "dishes"}


def test_big_pictures_are_made_smaller() -> None:
    assert stored(picture("JPEG", (4096, 2048))).size == (1200, 600)


def test_a_transparent_picture_stays_so() -> None:
    assert stored(picture("PNG", mode="RGBA", color=(0, 0, 0, 0))).mode == "RGBA"


def test_a_palette_and_grey_are_understood() -> None:
    assert stored(picture("PNG", mode="P", color=3)).mode == "RGB"
    assert stored(picture("JPEG", mode="L", color=100)).mode == "RGB"


def test_only_the_first_frame_of_an_animation_is_kept() -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    out = BytesIO()
    frames[0].save(out, format="WEBP", save_all=True, append_images=frames[1:])
    assert getattr(stored(out.getvalue()), "n_frames", 1) == 1


def test_a_photograph_is_turned_upright_and_its_place_forgotten() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turned by a quarter
    exif[0x010E] = "39.9150 N, 116.4550 E"
    kept = stored(picture("JPEG", (80, 40), exif=exif.tobytes()))
    assert kept.size == (40, 80)
    assert dict(kept.getexif()) == {}


def test_what_hides_in_a_picture_is_left_behind() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "<script>alert(1)</script>")
    polyglot = picture("PNG", pnginfo=notes) + b"<?php system($_GET['c']); ?>"
    name = services.store_picture(BytesIO(polyglot))
    with default_storage.open(name) as file:
        kept = file.read()
    assert b"script" not in kept
    assert b"php" not in kept


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html><script>alert(1)</script></html>",
        b"%PDF-1.7\n",
        b"PK\x03\x04" + b"\x00" * 60,
        picture("GIF", mode="P", color=1),
        picture("BMP"),
        picture("TIFF"),
    ],
    ids=["empty", "text", "svg", "html", "pdf", "zip", "gif", "bmp", "tiff"],
)
def test_other_types_are_refused(content: bytes, media: Path) -> None:
    with pytest.raises(PictureRefused, match="只支持"):
        services.store_picture(BytesIO(content))
    assert list(media.rglob("*.*")) == []


@pytest.mark.parametrize("keep", [200, 2000])
def test_damaged_pictures_are_refused(keep: int, media: Path) -> None:
    noise = Image.effect_noise((200, 200), 90)
    out = BytesIO()
    noise.save(out, format="PNG")
    with pytest.raises(PictureRefused, match="已损坏"):
        services.store_picture(BytesIO(out.getvalue()[:keep]))
    assert list(media.rglob("*.*")) == []


def test_five_megabytes_are_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = picture()
    monkeypatch.setattr(uploads, "LARGEST_BYTES", len(content))
    assert services.store_picture(BytesIO(content))
    with pytest.raises(PictureRefused, match="5 MB"):
        services.store_picture(BytesIO(content + b"\x00"))


def test_too_many_pixels_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = picture("PNG", (4097, 16))
    monkeypatch.setattr(Image.Image, "load", lambda _self: pytest.fail("unpacked"))
    with pytest.raises(PictureRefused, match="4096"):
        services.store_picture(BytesIO(bomb))


def test_addresses_of_pictures(settings: Settings) -> None:
    assert services.image_url("") == ""
    assert services.image_url("dishes/a.webp") == "/media/dishes/a.webp"
    assert services.image_url("static:demo/rice.svg") == "/static/demo/rice.svg"


# --- the same on an S3-compatible store ---


@pytest.fixture
def bucket(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server on a free port, and storage settings made from the environment as in production."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in {
        "WAIMAI_STORAGE_BUCKET": "dishes-of-waimai",
        "WAIMAI_STORAGE_ENDPOINT": endpoint,
        "WAIMAI_STORAGE_REGION": "us-east-1",
        "WAIMAI_STORAGE_ACCESS_KEY": "test",
        "WAIMAI_STORAGE_SECRET_KEY": "test",
        "WAIMAI_STORAGE_ADDRESSING": "path",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket="dishes-of-waimai")
    # Customers' browsers read pictures without a signature; that is the bucket's own setting, as in production.
    client.put_bucket_policy(
        Bucket="dishes-of-waimai", Policy=json.dumps({"Version": "2012-10-17", "Statement": READING})
    )
    settings.STORAGES = {**settings.STORAGES, "default": parts.storage(environ.Env())}
    yield client
    client.close()
    requests.post(f"{endpoint}/moto-api/reset", timeout=5)
    server.stop()


@pytest.mark.data
def test_pictures_go_to_the_bucket(bucket: Any, media: Path) -> None:
    name = services.store_picture(BytesIO(picture()))
    kept = bucket.get_object(Bucket="dishes-of-waimai", Key=name)
    assert kept["ContentType"] == "image/webp"
    assert Image.open(BytesIO(kept["Body"].read())).format == "WEBP"
    assert list(media.rglob("*.webp")) == []


@pytest.mark.data
def test_the_menu_shows_where_the_bucket_is(bucket: Any) -> None:
    shop = make_shop()
    make_dish(shop, image=services.store_picture(BytesIO(picture())))
    address = services.menu_document(shop.pk).data["categories"][0]["items"][0]["image"]
    assert address.startswith("http://")
    assert "Signature" not in address  # Public pictures: nothing that expires may stand in a kept document.
    assert requests.get(address, timeout=5).content[8:12] == b"WEBP"


@pytest.mark.data
def test_a_store_that_is_down_is_left_alone(bucket: Any, settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    settings.STORAGES["default"]["OPTIONS"]["endpoint_url"] = address
    settings.STORAGES = dict(settings.STORAGES)
    for _try in range(5):
        with pytest.raises(ServiceUnavailable):
            services.store_picture(BytesIO(picture()))
    with pytest.raises(ServiceUnavailable) as refusal:
        services.store_picture(BytesIO(picture()))
    assert (refusal.value.retry_after or 0) > 50


@pytest.mark.data
def test_a_refused_file_never_reaches_the_bucket(bucket: Any) -> None:
    with pytest.raises(PictureRefused):
        services.store_picture(BytesIO(b"hello"))
    assert "Contents" not in bucket.list_objects_v2(Bucket="dishes-of-waimai")
