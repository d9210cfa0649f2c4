"""The study by people: a page that is blind, filled by a browser, and ratings scored against figures by hand."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from transformers_empathav.cli import app
from transformers_empathav.evaluation.raters.agreement import agreement
from transformers_empathav.evaluation.raters.study import make_study, score_study


SYSTEMS = ("bare-model", "tuned-model")


def reply_lines(count=6, systems=SYSTEMS):
    return [
        {
            "id": f"talks/{index}",
            "context": [{"role": "user", "content": f"<b>Bad</b> day {index} </script>"}],
            "gold": f"A person's reply {index}",
            "replies": {name: f"Reply {number} to {index}" for number, name in enumerate(systems)},
        }
        for index in range(count)
    ]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def study(tmp_path):
    """A page of four contexts, and its key."""
    write_lines(tmp_path / "replies.jsonl", reply_lines())
    make_study([tmp_path], tmp_path / "study.html", tmp_path / "study.key.json", contexts=4)
    return tmp_path


def save(folder, rater, values, study=None):
    """A file of ratings: `values(context, system)` gives both."""
    key = json.loads((folder / "study.key.json").read_text())
    given = [
        {"item": item, **dict(zip(("semantics", "empathy"), values(one["context"], one["system"])))}
        for item, one in key["items"].items()
        if values(one["context"], one["system"]) is not None
    ]
    path = folder / f"ratings-{rater}.json"
    path.write_text(json.dumps({"study": study or key["study"], "rater": rater, "ratings": given}))
    return path


def test_the_page_says_nothing_of_systems(study):
    page = (study / "study.html").read_text()
    assert not any(name in page for name in SYSTEMS) and "talks/" not in page
    key = json.loads((study / "study.key.json").read_text())
    assert len(key["items"]) == 8 and all(item in page for item in key["items"])


def test_replies_stand_in_no_fixed_order(tmp_path):
    write_lines(tmp_path / "replies.jsonl", reply_lines(20))
    key = make_study([tmp_path], tmp_path / "a.html", tmp_path / "key.json", contexts=20)
    first = [one["system"] for one in key["items"].values()][::2]
    assert 3 < first.count("bare-model") < 17


def test_the_same_seed_gives_the_same_study_and_another_one_another(tmp_path):
    write_lines(tmp_path / "replies.jsonl", reply_lines(20))
    pages = []
    for seed in (0, 0, 1):
        make_study([tmp_path], tmp_path / "a.html", tmp_path / "key.json", contexts=4, seed=seed)
        pages.append((tmp_path / "a.html").read_text())
    assert pages[0] == pages[1] != pages[2]


def test_several_sources_are_joined_on_their_contexts_and_a_person_takes_part(tmp_path):
    write_lines(tmp_path / "one.jsonl", reply_lines(4))
    write_lines(tmp_path / "two.jsonl", reply_lines(3, ("bare-model", "third")))
    with pytest.raises(ValueError, match="different replies of .bare-model."):
        other = reply_lines(3)
        other[0]["replies"]["bare-model"] = "else"
        write_lines(tmp_path / "wrong.jsonl", other)
        make_study([tmp_path / "one.jsonl", tmp_path / "wrong.jsonl"], tmp_path / "a.html", tmp_path / "key.json")
    key = make_study(
        [tmp_path / "one.jsonl", tmp_path / "two.jsonl"], tmp_path / "a.html", tmp_path / "key.json", human=True
    )
    assert key["systems"] == ["bare-model", "tuned-model", "third", "human"] and len(key["items"]) == 12


def fill(page, choose):
    """Rates every reply on the page that is open; gives the words of the replies in the order they were shown."""
    seen = []
    for card in page.locator(".reply").all():
        words = card.locator("p").inner_text()
        seen.append(words)
        for scale, value in zip(("Meaning", "Empathy"), choose(words)):
            card.get_by_label(f"{scale} of reply", exact=False).nth(value - 1).check()
    return seen


def test_a_browser_fills_the_page_and_the_saved_file_scores_as_by_hand(study):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium to fill the page with: apt-get install chromium")
    # Of "Reply 0 to 3": meaning 2 for the first system and 4 for the second, empathy 1 or 5, by context.
    ratings = {0: (2, 1), 1: (4, 5)}
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(error))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "blob:")) else problems.append(request.url),
        )
        orders = []
        for rater in ("ann", "bob 2"):
            page.goto((study / "study.html").as_uri())
            page.get_by_role("textbox").fill(rater)
            page.get_by_role("button", name="Begin").click()
            shown = []
            for place in range(4):
                assert page.get_by_role("heading").inner_text() == f"Conversation {place + 1} of 4"
                assert page.locator(".said").inner_text().startswith("<b>Bad</b> day")
                shown += fill(page, lambda words: ratings[int(words.split()[1])])
                if place == 1:  # what was rated before a reload is still there
                    page.reload()
                    page.get_by_role("textbox").fill(rater)
                    page.get_by_role("button", name="Begin").click()
                    assert page.get_by_role("status").inner_text() == "4 replies have no full rating yet"
                    page.get_by_role("button", name="Next").click()
                if place < 3:
                    page.get_by_role("button", name="Next").click()
            assert page.get_by_role("status").inner_text() == "All replies are rated"
            with page.expect_download() as saved:
                page.get_by_role("button", name="Save ratings").click()
            saved.value.save_as(study / saved.value.suggested_filename)
            orders.append(shown)
        browser.close()
    assert not problems
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    files = sorted(study.glob("ratings-*.json"))
    assert [path.name for path in files] == ["ratings-ann.json", "ratings-bob-2.json"]
    result = score_study(files, study / "study.key.json")
    assert (result["raters"], result["contexts"]) == (2, 4)
    for scale, means in (("semantics", (2, 4)), ("empathy", (1, 5))):
        part = result["scales"][scale]
        assert [part["systems"][name]["value"] for name in SYSTEMS] == list(means)
        assert [part["systems"][name]["n"] for name in SYSTEMS] == [8, 8]
        assert part["alpha"] == 1.0


def test_means_differences_and_gaps_by_hand(study):
    contexts = sorted({one["context"] for one in json.loads((study / "study.key.json").read_text())["items"].values()})

    def ann(context, system):
        return (1 + contexts.index(context), 3) if system == "bare-model" else (5, 4)

    def bob(context, system):
        return None if context == contexts[0] else ann(context, system)

    result = score_study([save(study, "ann", ann), save(study, "bob", bob)], study / "study.key.json")
    bare = result["scales"]["semantics"]["systems"]["bare-model"]
    assert bare["value"] == pytest.approx((1 + 2 + 3 + 4 + 2 + 3 + 4) / 7, rel=1e-5) and bare["n"] == 7
    assert bare["low"] < bare["value"] < bare["high"]
    pair = result["scales"]["semantics"]["differences"]["tuned-model - bare-model"]
    assert pair["value"] == pytest.approx(5 - 19 / 7, rel=1e-5) and pair["p"] < 0.01
    assert result["scales"]["empathy"]["differences"]["tuned-model - bare-model"]["low"] == 1


def test_alpha_is_that_of_the_published_example():
    """Krippendorff (2011), computing alpha-reliability: four observers, twelve units, ordinal alpha 0.815."""
    gap = np.nan
    ratings = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, gap, gap, gap],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gap, 3],
            [gap, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gap],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gap],
        ]
    )
    assert agreement(ratings) == pytest.approx(0.815, abs=5e-4)


def test_alpha_by_hand():
    """Two raters, three items, ratings 1 1 2 and 1 2 2: of three pairs one differs."""
    # Values 1 (three times) and 2 (three times): with two values every metric agrees, Do = 2/6, De = 2*3*3/(6*5).
    assert agreement(np.array([[1, 1, 2], [1, 2, 2]], dtype=float)) == pytest.approx(1 - (2 / 6) / (18 / 30), abs=1e-6)


def test_alpha_of_one_rater_or_one_value_is_not_defined(study):
    alone = score_study([save(study, "ann", lambda context, system: (3, 3))], study / "study.key.json")
    assert alone["scales"]["empathy"]["alpha"] is None
    assert agreement(np.full((2, 3), 4.0)) is None


def test_files_that_do_not_belong_are_refused(study):
    good = save(study, "ann", lambda context, system: (3, 3))
    with pytest.raises(ValueError, match="second file of rater 'ann'"):
        score_study([good, good], study / "study.key.json")
    with pytest.raises(ValueError, match="study other"):
        score_study([save(study, "eve", lambda context, system: (3, 3), "other")], study / "study.key.json")
    with pytest.raises(ValueError, match="rating 6"):
        score_study([save(study, "max", lambda context, system: (6, 3))], study / "study.key.json")
    with pytest.raises(ValueError, match="no rating"):
        score_study([save(study, "nil", lambda context, system: None)], study / "study.key.json")
    (study / "torn.json").write_text('{"study": ')
    with pytest.raises(ValueError, match="no file of ratings"):
        score_study([study / "torn.json"], study / "study.key.json")


def test_the_commands_make_and_score(study):
    run = CliRunner()
    made = run.invoke(
        app, ["study", "make", str(study), "--output", str(study / "b.html"), "--contexts", "2", "--human"]
    )
    assert (
        made.exit_code == 0 and "2 conversations, 3 replies each" in made.output and (study / "b.key.json").is_file()
    )
    files = [str(save(study, name, lambda context, system: (3, 4))) for name in ("ann", "bob")]
    options = ["--key", str(study / "study.key.json"), "--plot", str(study / "plot.png")]
    told = run.invoke(app, ["study", "score", *files, *options])
    assert told.exit_code == 0 and "2 raters, 4 contexts" in told.output and "3.00" in told.output
    assert (study / "plot.png").read_bytes()[:4] == b"\x89PNG"
    as_json = run.invoke(app, ["study", "score", *files, "--key", str(study / "study.key.json"), "--json"])
    assert json.loads(as_json.output)["scales"]["semantics"]["systems"]["bare-model"]["value"] == 3
    wrong = run.invoke(app, ["study", "make", str(study), "--system", "none", "--output", str(study / "c.html")])
    assert wrong.exit_code == 2 and "no replies of 'none'" in wrong.output
