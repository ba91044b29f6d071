"""What httpx alone takes for the same calls, each thread with a client of its own: nothing is checked or kept."""

import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from timed import timed


def small(url: str, folder: str, workers: str) -> None:
    """Every file by itself, so many at a time."""
    with ThreadPoolExecutor(int(workers)) as threads:
        send = partial(_file, url, threading.local(), ssl.create_default_context())
        timed(lambda: list(threads.map(send, sorted(Path(folder).iterdir()))))


def _file(url: str, own: threading.local, tls: ssl.SSLContext, path: Path) -> None:
    if not hasattr(own, "client"):
        own.client = httpx.Client(verify=tls)
    client: httpx.Client = own.client
    made = client.post(f"{url}uploads/", json={"filename": path.name}).json()
    address = f"{url}uploads/{made['pk']}/{made['s3_upload_id']}/"
    asked = client.patch(f"{address}generate-presigned-urls/", json={"part_numbers": [1]}).json()
    client.put(asked["presigned_urls"]["1"], content=path.read_bytes())
    parts = [{"ETag": "", "PartNumber": 1}]
    client.patch(f"{address}complete-multipart-upload/", json={"parts": parts}).json()


if __name__ == "__main__":
    small(*sys.argv[1:])
