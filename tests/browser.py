"""A headless Chromium, and a clip as what its camera and microphone give."""

import os
import shutil
import wave
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest


@contextmanager
def chromium():
    """
    A function that opens a browser with flags; all browsers are closed at the end. It is used where EMPATHAV_BROWSER
    is set: tests/chat/test_web.py takes a minute of processor time, half of it for the camera, and two or three
    minutes where other work runs beside it on two cores.
    """
    if not os.environ.get("EMPATHAV_BROWSER"):
        pytest.skip("the page is opened in a browser where EMPATHAV_BROWSER is set")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium to open the page with: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        yield lambda *flags: playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *flags])


def fake_devices(clip, folder: Path) -> list[str]:
    """Flags by which Chromium's camera and microphone give a clip, again and again."""
    with av.open(str(clip)) as container, open(folder / "camera.y4m", "wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F5:1 Ip A1:1 C420jpeg\n")
        for frame in container.decode(video=0):
            file.write(b"FRAME\n")
            for plane in frame.reformat(width=320, height=240, format="yuv420p").planes:
                rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                file.write(rows[:, : plane.width].tobytes())
    with av.open(str(clip)) as container, wave.open(str(folder / "microphone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48000)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                file.writeframes(part.to_ndarray().tobytes())
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={folder / 'camera.y4m'}",
        f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}",
    ]
