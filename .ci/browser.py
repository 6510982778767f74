"""The report in a real browser: `browser.py [CHROMIUM]` writes pages of a hostile campaign and looks at them headless.

Checked in the page that the browser has made: the one allowed script has run (tables can be sorted, wide ones say so on a narrow screen), a
click sorts numbers as numbers, and no text of the documents has become an element or run. Exit code 1 where not.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgechaos.hil.campaign.config import Images, Sample, Sweep
from edgechaos.hil.report.inputs import Inputs
from edgechaos.hil.report.page import compose
from edgechaos.hil.report.several import compose_several
from tests.helpers.campaigns import campaign, run
from tests.hil.test_report_several import hostile

NARROW, WIDE = "420,2400", "2000,2400"
CLICK = """<script>const head = document.querySelectorAll("table.sortable")[INDEX].tHead.rows[0].cells[COLUMN];
head.querySelector("button").click();</script>"""


def dom(browser: str, page: Path, window: str) -> str:
    """The page as the browser has it after its scripts."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={window}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def column(html: str, index: int, column_index: int) -> list[str]:
    """The texts of a column of a sortable table."""
    table = re.findall(r'<table class="sortable">.*?</table>', html, re.DOTALL)[index]
    rows = re.findall(r"<tr>.*?</tr>", table.partition("<tbody>")[2], re.DOTALL)
    return [re.sub("<[^>]*>", "", re.findall(r"<td.*?</td>", row, re.DOTALL)[column_index]) for row in rows]


def main() -> int:
    """0 where all holds."""
    browser = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium") or shutil.which("google-chrome") or ""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sweeps = (Sweep("dead", (0.0, 0.05, 0.5, 1.0)), Sweep("omission", (0.25,)))
        sample = (Sample("weight_bit_flip", 60, ("layer", "bit"), pilot=2),)
        run(folder, campaign(sweep=sweeps, sample=sample, masks=4, images=Images(12))).write(folder)
        document = hostile(folder)
        pages = {"one": compose(Inputs(document)).html, "several": compose_several((Inputs(document), Inputs(document))).html}
        wrong = []
        for name, html in pages.items():
            (folder / f"{name}.html").write_text(html)
            narrow, wide = dom(browser, folder / f"{name}.html", NARROW), dom(browser, folder / f"{name}.html", WIDE)
            checks = {
                "tables can be sorted": narrow.count('<button type="button">') >= 4,
                "wide tables say so on a narrow screen": 'class="scroll wider"' in narrow,
                "no text became an element": "<img" not in narrow and narrow.count("<script") == 2,
                "and none is there on a wide one either": wide.count("<script") == 2,
            }
            wrong += [f"{name}: {what}" for what, holds in checks.items() if not holds]
        # A click comes from a script of this file's own, which the page's policy would refuse: here the policy is taken away.
        free = re.sub(r"<meta http-equiv[^>]*>", "", pages["one"])
        tables = re.findall(r'<table class="sortable">.*?</table>', free, re.DOTALL)
        index = next(k for k, table in enumerate(tables) if "worst mask" in table and table.count("<tr>") > 4)
        (folder / "clicked.html").write_text(free.replace("</body>", CLICK.replace("INDEX", str(index)).replace("COLUMN", "1") + "</body>"))
        clicked = dom(browser, folder / "clicked.html", WIDE)
        accuracies = [float(text) for text in column(clicked, index, 1)]
        if accuracies != sorted(accuracies) or len({*accuracies}) < 2:
            wrong.append(f"a click sorts by value, not {accuracies}")
        if 'aria-sort="ascending"' not in clicked:
            wrong.append("the sorted column says so")
    print(*[f"does not hold: {text}" for text in wrong], sep="\n")
    print(f"{browser}: {'as it must be' if not wrong else f'{len(wrong)} wrong'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
