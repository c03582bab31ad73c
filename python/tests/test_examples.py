"""The examples run, and so do those of the README."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from support import LONG

try:
    import numpy
except ImportError:
    numpy = None

HERE = pathlib.Path(__file__).resolve().parent.parent


class Examples(unittest.TestCase):
    def run_all(self, programs):
        self.assertGreater(len(programs), 2)
        for name, path in programs:
            if numpy is None and "import numpy" in path.read_text():
                continue
            with self.subTest(name):
                command = [sys.executable, "-W", "error", str(path)]
                done = subprocess.run(command, timeout=3 * LONG, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_examples_run(self):
        self.run_all([(path.name, path) for path in sorted((HERE / "examples").glob("*.py"))])

    def test_those_of_the_readme_run(self):
        text = (HERE / "README.md").read_text()
        with tempfile.TemporaryDirectory() as directory:
            programs = []
            for at, program in enumerate(re.findall(r"(?ms)^```python\n(.*?)^```$", text)):
                path = pathlib.Path(directory, f"block{at}.py")
                path.write_text(program)
                programs.append((at, path))
            self.run_all(programs)


if __name__ == "__main__":
    unittest.main()
