"""The page in a browser: by keyboard, camera, microphone and file, in hostile hands, and for two visitors at once."""

import re
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from browser import chromium, fake_devices
from clips import write_clip
from recogniser import listening
from transformers_empathav.chat.responder import Responder
from transformers_empathav.chat.visit import Limits
from transformers_empathav.chat.writing import Written


web = pytest.importorskip("transformers_empathav.chat.web")
pytest.importorskip("gradio", reason="the page is made with the extra app")
HOSTILE = "<img src=x onerror=\"document.title='hit'\"> <b>bold</b> **stars** {{7*7}} ${7*7}"
LIMITS = Limits(seconds=10, megabytes=2, characters=300)
PATIENCE = 120_000  # milliseconds


@contextmanager
def served(responder, limits=LIMITS, login=None, **generation):
    """The page while it is served."""
    page = web.build_page(responder, limits, **generation)
    web.launch(page, limits, "127.0.0.1", None, login, prevent_thread_lock=True)
    try:
        yield page
    finally:
        page.close(verbose=False)


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    """Where Gradio puts what is uploaded."""
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def address(responder, uploads, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(responder, "transcribe", listening(responder, tmp_path_factory.mktemp("recogniser")))
        with served(responder, max_new_tokens=6) as page:
            yield page.local_url


@pytest.fixture(scope="module")
def launch():
    with chromium() as launch:
        yield launch


@pytest.fixture(scope="module")
def browser(launch):
    with launch() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    """Lets a visitor come to an address. Who came leaves at the end of the test: open pages go on working."""
    with ExitStack() as stack:
        yield lambda address, **options: stack.enter_context(Visitor(browser, address, **options))


class Visitor:
    """What somebody does on the page and sees of it, until they leave."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors, self.hosts = [], set()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(re.sub(r"^(blob|data):.*", "", request.url)[:17]))
        self.page.goto(address)
        self.message = self.page.get_by_label("Your message")
        self.opened()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.leave()

    def leave(self):
        self.context.close()

    def opened(self):
        self.page.get_by_text("messages remembered").wait_for()

    def press(self, name: str):
        self.page.get_by_role("button", name=name).click()

    def say(self, text: str | None = None):
        """Sends a message and waits for the whole reply."""
        before = self.remembered
        if text is not None:
            self.message.fill(text)
        self.message.press("Enter")
        self.until(f"Number({self.cell('messages remembered')}) == {before + 2}")

    def upload(self, button: str, path):
        with self.page.expect_file_chooser() as chooser:
            self.press(button)
        chooser.value.set_files(path)

    def cell(self, name: str) -> str:
        """JavaScript for a figure of the memory."""
        cells = 'Array.from(document.querySelectorAll("td"))'
        return f'{cells}.find((cell) => cell.innerText == "{name}").nextElementSibling.innerText'

    def until(self, condition: str):
        self.page.wait_for_function(f"() => {condition}")

    def told(self, text: str) -> str:
        """Waits for a line of the status, which is one."""
        self.until(f'document.querySelector("#status").innerText.includes("{text}")')
        return self.page.locator("#status").inner_text()

    @property
    def remembered(self) -> int:
        return int(self.page.evaluate(f"() => {self.cell('messages remembered')}"))

    @property
    def chat(self) -> str:
        return self.page.locator("#chat").inner_text()


def test_a_visit_by_upload_saved_and_reopened(visit, address, uploads, tmp_path):
    visitor = visit(address)
    visitor.page.get_by_role("tab", name="File").click()
    visitor.upload("Choose a clip", write_clip(tmp_path / "my clip.mp4", seconds=1))
    assert "was heard" in visitor.told("my clip.mp4 was heard")
    heard = visitor.message.input_value()
    assert heard and set(heard) <= set("abcdefg ")  # the letters of the recogniser
    visitor.say("I miss them.")
    visitor.upload("Choose a clip", write_clip(tmp_path / "another.mp4", seconds=1))
    visitor.told("another.mp4 was heard")
    visitor.say("And you?")
    assert "I miss them." in visitor.chat and "[heard and seen:" in visitor.chat and visitor.remembered == 4
    lines = 'Array.from(document.querySelectorAll("#plot .mark-line path"))'
    visitor.until(
        f"{lines}.filter((line) => line.getAttribute('d')?.includes('L') && line.getAttribute('stroke')).length == 7"
    )
    with visitor.page.expect_download() as download:
        visitor.press("Save to a file")
    download.value.save_as(tmp_path / "talk.safetensors")
    shown = visitor.chat
    visitor.page.reload()
    visitor.opened()
    assert visitor.remembered == 0 and "I miss them." not in visitor.chat
    visitor.upload("Reopen a file", tmp_path / "talk.safetensors")
    visitor.told("Reopened: 4 messages")
    assert visitor.chat == shown
    visitor.page.get_by_label("Messages to forget").click()
    visitor.page.get_by_role("option", name="1, you").click()
    visitor.press("Forget them")
    visitor.told("Forgotten. 3 messages")
    assert "I miss them." not in visitor.chat and visitor.remembered == 3
    visitor.press("New conversation")
    visitor.told("A new conversation")
    assert visitor.remembered == 0
    assert not visitor.errors and visitor.hosts <= {"", address[:17]}
    assert not [path for path in uploads.rglob("*") if path.is_file() and path.stat().st_size]


def test_what_comes_from_outside_is_shown_as_text(visit, address, responder, tmp_path, monkeypatch):
    def write(inputs, cache, **options):
        yield HOSTILE
        return Written(HOSTILE, 1, 0, "stop")

    monkeypatch.setattr(responder, "write", write)
    visitor = visit(address)
    visitor.say(HOSTILE)
    assert visitor.chat.count(HOSTILE) == 2 and visitor.page.locator("#chat img, #chat b").count() == 0
    file = tmp_path / "<b>{{7*7}}.mp4"
    file.write_text("no film\n" * 50)
    visitor.page.get_by_role("tab", name="File").click()
    visitor.upload("Choose a clip", file)
    line = visitor.told("no media file")
    assert line.startswith("b77.mp4: ") and "\n" not in line.strip() and "/tmp" not in line  # as Gradio cleans names
    visitor.upload("Reopen a file", file)
    assert "b77.mp4 is damaged" in visitor.told("is damaged")
    assert visitor.page.locator("#status b").count() == 0
    visitor.message.fill("much too long " * 100)
    visitor.message.press("Enter")
    assert "1,400 characters, and at most 300" in visitor.told("shorten it")
    assert visitor.message.input_value().startswith("much too long") and visitor.remembered == 2
    monkeypatch.setattr(responder, "write", lambda *args, **options: 1 / 0)
    visitor.message.fill("Hello")
    visitor.message.press("Enter")
    visitor.told("The reply failed")
    assert visitor.message.input_value() == "Hello" and visitor.remembered == 2
    visitor.press("Discard what was heard")
    visitor.told("Discarded")
    assert visitor.message.input_value() == "Hello"
    assert visitor.page.title() != "hit" and not visitor.errors


def test_two_visitors_do_not_see_each_other(visit, address):
    ann, bob = visit(address), visit(address)
    ann.say("My name is Ann.")
    bob.say("My name is Bob.")
    ann.say("Who am I?")
    assert "Ann" in ann.chat and "Bob" not in ann.chat and ann.remembered == 4
    assert "Bob" in bob.chat and "Ann" not in bob.chat and bob.remembered == 2


def test_help_is_shown_and_stays(visit, address):
    visitor = visit(address)
    assert not visitor.page.locator("#help").is_visible()
    visitor.say("I want to kill myself.")
    visitor.say("Never mind.")
    assert visitor.page.get_by_role("alert").filter(has_text="988 Suicide").is_visible()
    links = visitor.page.locator("#help a")
    assert all(link.get_attribute("href").startswith("https://") for link in links.all()) and links.count() > 5


def test_a_phone_a_keyboard_and_a_screen_reader_can_use_it(visit, address):
    visitor = visit(address, viewport={"width": 390, "height": 844})
    page = visitor.page
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.evaluate("() => document.documentElement.lang") == "en"
    assert page.locator("#status").get_attribute("role") == "status"
    names = [button.get_attribute("aria-label") or button.inner_text() for button in page.get_by_role("button").all()]
    assert all(name.strip() for name in names)
    visitor.message.fill("Hello")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.innerText") == "Send"
    page.keyboard.press("Enter")
    visitor.until(f"{visitor.cell('messages remembered')} == 2")
    visitor.until('document.activeElement == document.querySelector("#message textarea")')
    page.get_by_role("link", name="Responsible use").click()
    page.get_by_role("button", name="Responsible use").click()
    page.get_by_role("heading", name="It is no therapist").wait_for()


def test_who_gives_no_password_stays_outside(responder, uploads):
    httpx = pytest.importorskip("httpx")
    with served(responder, login=("ann", "secret")) as page:
        with httpx.Client(base_url=page.local_url) as outside:
            assert outside.get("/config").status_code == 401
            assert outside.post("/login", data={"username": "ann", "password": "wrong"}).status_code == 400
            assert outside.post("/login", data={"username": "ann", "password": "secret"}).status_code == 200
            config = outside.get("/config")
            assert config.status_code == 200
            assert not [found for found in config.json()["dependencies"] if found["api_visibility"] == "public"]


def test_nothing_is_left_of_a_visit(visit, responder, uploads, monkeypatch):
    monkeypatch.setenv("GRADIO_IS_E2E_TEST", "1")  # a second in place of an hour
    with served(responder, max_new_tokens=6) as page:
        visitor = visit(page.local_url)
        visitor.say("My secret")
        held = page.state_holder.session_data
        assert any("My secret" in str(session.config_values) for session in held.values())
        visitor.leave()
        for _ in range(600):
            if not any("My secret" in str(session.config_values) for session in held.values()):
                break
            time.sleep(0.1)
        assert not any("My secret" in str(session.config_values) for session in held.values())


def test_a_person_speaks_to_camera_and_microphone(checkpoint_dir, data_dir, uploads, launch, tmp_path):
    clip = data_dir / "av_clips" / "faces" / "01-01-04-02-01-01-01.mp4"
    if not clip.is_file():
        pytest.skip(f"there is no {clip.name} below EMPATHAV_DATA")
    responder = Responder(checkpoint_dir)
    responder.transcribe.load()
    with (
        served(responder, max_new_tokens=24) as served_page,
        launch(*fake_devices(clip, tmp_path)) as browser,
        Visitor(browser, served_page.local_url, permissions=["camera", "microphone"]) as visitor,
    ):
        page = visitor.page
        page.get_by_text("Click to Access Webcam").click()
        record = page.get_by_role("button", name="start recording")
        record.click()
        page.wait_for_timeout(4000)
        record.click()
        visitor.told("was heard")
        assert "door" in visitor.message.input_value().lower()
        page.evaluate(
            """() => { window.seen = new Set(); new MutationObserver(() => window.seen.add(
            document.querySelector("#chat").innerText)).observe(document.querySelector("#chat"),
            {subtree: true, childList: true, characterData: true}); }"""
        )
        visitor.say("My kids are talking by the door, and I may not see them.")
        assert "[heard and seen:" in visitor.chat and "by the door, and I" in visitor.chat
        assert page.evaluate("() => window.seen.size") > 3  # the reply grew
        page.get_by_role("tab", name="Microphone").click()
        page.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_timeout(4000)
        page.get_by_role("button", name="Stop", exact=True).click()
        visitor.told("audio.wav was heard")
        assert "door" in visitor.message.input_value().lower()
        visitor.say()
        assert visitor.remembered == 4 and visitor.chat.count("[heard and seen:") == 2
        assert not visitor.errors


def test_the_page_shows_what_the_documentation_says():
    root = Path(web.__file__).parents[3]
    assert web.RESPONSIBLE_USE.read_text(encoding="utf-8") == (root / "docs" / "responsible_use.md").read_text(
        encoding="utf-8"
    )
    assert web.RESPONSIBLE_USE.name in (root / "setup.py").read_text(encoding="utf-8")
