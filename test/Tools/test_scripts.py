#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""tools/check, tools/quickstart and the installer, without building."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools" / "lib"))

import check
import numpy as np
import quickstart
import steps

GTEST = """\
Running main() from gtest_main.cc
[==========] Running 4 tests from 2 test suites.
[----------] 3 tests from A
[ RUN      ] A.Good
[       OK ] A.Good (0 ms)
[ RUN      ] A.Bad
a.cpp:3: Failure
Failed
[  FAILED  ] A.Bad (0 ms)
[ RUN      ] A.Absent
b.cpp:7: Skipped
no AMX on this machine
[  SKIPPED ] A.Absent (0 ms)
[ RUN      ] A.Last
[       OK ] A.Last (0 ms)
[==========] 4 tests from 2 test suites ran. (1 ms total)
[  PASSED  ] 2 tests.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] A.Absent
[  FAILED  ] 1 test, listed below:
[  FAILED  ] A.Bad
"""

PYTEST = """\
..s.F                                                            [100%]
=========================== short test summary info ============================
SKIPPED [2] test_session.py:57: could not import 'ml_dtypes': no such module
FAILED test_session.py::test_x - assert 1 == 2
1 failed, 3 passed, 2 skipped in 5.31s
"""

UNITTEST = """\
test_a (x.Y.test_a) ... ok
test_b (x.Y.test_b) ... skipped 'no clock'
test_c (x.Y.test_c) ... FAIL
----------------------------------------------------------------------
Ran 3 tests in 0.003s

FAILED (failures=1, skipped=1)
"""

LIT = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites time="1.00">
<testsuite name="moe" tests="3" failures="1" skipped="1" time="0.1">
<testcase classname="moe.X" name="a.mlir" time="0.1"/>
<testcase classname="moe.X" name="b.mlir" time="0.1">
<failure><![CDATA[no]]></failure>
</testcase>
<testcase classname="moe.X" name="c.mlir" time="0.1">
<skipped message="Missing required feature(s): amx"/>
</testcase>
</testsuite>
</testsuites>
"""


def quietly(function, *arguments):
    """The result of a call and what it printed."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        result = function(*arguments)
    return result, text.getvalue()


def case(output, name="X", status="run", skipped=None):
    element = xml.Element("testcase", name=name, status=status, time="1.5")
    if skipped is not None:
        xml.SubElement(element, "skipped", message=skipped)
    xml.SubElement(element, "system-out").text = output
    return check.count(element, pathlib.Path("/nonexistent"))


class Counting(unittest.TestCase):
    def test_gtest(self):
        result = case(GTEST, status="fail")
        self.assertEqual((result.passed, result.failed), (2, 1))
        self.assertEqual(
            result.skipped, [("A.Absent", "no AMX on this machine")]
        )

    def test_gtest_without_a_failure(self):
        text = GTEST.replace("[  FAILED  ]", "[       OK ]")
        self.assertEqual(case(text).failed, 0)

    def test_pytest(self):
        result = case(PYTEST, status="fail")
        self.assertEqual((result.passed, result.failed), (3, 1))
        self.assertEqual(len(result.skipped), 2)
        self.assertIn("ml_dtypes", result.skipped[0][1])

    def test_unittest(self):
        result = case(UNITTEST, status="fail")
        self.assertEqual((result.passed, result.failed), (1, 1))
        self.assertEqual(result.skipped[0][1], "no clock")
        self.assertEqual(case("Ran 3 tests in 1s\n\nOK\n").passed, 3)

    def test_lit(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "lit.xml"
            path.write_text(LIT)
            element = xml.Element(
                "testcase", name="check-moe-lit", status="fail", time="1"
            )
            result = check.count(element, path)
        self.assertEqual((result.passed, result.failed), (1, 1))
        self.assertEqual(
            result.skipped,
            [("moe.X/c.mlir", "Missing required feature(s): amx")],
        )

    def test_others_count_as_one(self):
        self.assertEqual(case("fine").passed, 1)
        self.assertEqual(case("bad", status="fail").failed, 1)

    def test_not_run(self):
        def not_run(message, output=""):
            return case(output, status="notrun", skipped=message)

        # What was not built is no test to skip.
        result = not_run("Unable to find executable")
        self.assertEqual((result.failed, result.skipped), (1, []))
        result = not_run("SKIP_RETURN_CODE=77")
        self.assertEqual(result.skipped, [("X", "SKIP_RETURN_CODE=77")])
        self.assertEqual(result.failed, 0)
        result = not_run("SKIP_REGULAR_EXPRESSION", GTEST)
        self.assertEqual(
            result.skipped, [("A.Absent", "no AMX on this machine")]
        )
        self.assertEqual(len(case("", status="disabled").skipped), 1)

    def test_one_that_dies_after_its_tests_fails(self):
        text = GTEST.replace("[  FAILED  ] 1 test", "[  ended   ] 1 test")
        self.assertEqual(case(text, status="fail").failed, 1)

    def test_last_line_and_status(self):
        for status, code in ("run", 0), ("fail", 1):
            results = [case("", status=status), case(PYTEST)]
            results[1].failed = 0
            found, text = quietly(check.summarize, results, steps.Steps(1))
            self.assertEqual(found, code)
            passed = 4 if status == "run" else 3
            last = text.splitlines()[-1]
            self.assertEqual(
                last, f"{passed} passed, {code} failed, 2 skipped"
            )
            self.assertIn("skipped: test_session.py:57: could not", text)


class Comparing(unittest.TestCase):
    """quickstart sees wrong rows, wrong counts and wrong shapes."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        moe = quickstart.moe
        info = moe.TensorInfo("x", "f32", ("N", 3), {"N": (0, 9)})
        function = moe.FunctionInfo("layers.0.mlp", 0, (info,), (info,))
        self.layer = quickstart.Layer(function, pathlib.Path(folder.name), 1)
        self.layer.expected = np.array([[1.0, 2, 3], [0, 0, 0], [4, 0, 0]])
        self.layer.ids = np.array([[0, 1], [1, 2], [1, 2]])
        self.counts([1, 3, 2, 0])

    def counts(self, counts):
        self.layer.counts = quickstart.moe.ExpertStats(
            "m", "f", ["l"], np.array([3]), np.array([4]), np.array([counts])
        )

    def check(self, y):
        y = quickstart.tensorfile.from_f32(np.array(y), "F32")
        quickstart.tensorfile.write(self.layer.file("y3"), {"y": y})
        return self.layer.check_rows(3)

    def test_equal(self):
        worst, bad = self.check(self.layer.expected)
        self.assertEqual((worst, bad), (0, []))

    def test_one_row(self):
        y = self.layer.expected.copy()
        y[2, 1] = 1e-3
        worst, bad = self.check(y)
        self.assertAlmostEqual(worst, 2.5e-4)
        self.assertEqual(bad, ["token 2: distance 0.00025, allowed 1e-05"])

    def test_row_of_zeros_and_nan(self):
        y = self.layer.expected.copy()
        y[1, 1] = 1e-3
        self.assertEqual(len(self.check(y)[1]), 1)
        y[1, 1] = np.nan
        self.assertEqual(self.check(y)[0], np.inf)

    def test_counts(self):
        self.counts([1, 2, 3, 0])
        _, bad = self.check(self.layer.expected)
        self.assertEqual(
            bad, ["expert 1 got 2 tokens, the interpreter says 3"]
        )

    def test_shape(self):
        _, bad = self.check(self.layer.expected[:2])
        self.assertEqual(bad, ["shape (2, 3), not (3, 3)"])

    def test_histogram(self):
        text = quickstart.histogram(np.array([0, 1, 8, 4]))
        self.assertIn("most 8, mean 3.2, 1 of 4 unused", text)


FAKES = {
    "dpkg-query": """\
        for name; do :; done
        case $name in have-*) echo "install ok installed" ;; *) exit 1 ;; esac
        """,
    "id": 'case $1 in -u) echo "${FAKE_UID:-0}" ;; *) echo me ;; esac',
    "apt-get": """\
        echo "apt-get $*" >> "$LOG"
        case "$*" in *update*) exit ${FAKE_UPDATE:-0} ;; esac
        exit ${FAKE_INSTALL:-0}
        """,
    "apt-cache": """\
        for name; do :; done
        case $name in
        lost-*) echo "  Candidate: (none)" ;;
        *) echo "  Candidate: 1.0" ;;
        esac
        """,
    "sudo": """\
        echo "sudo $1" >> "$LOG"
        [ "$1" = -n ] && shift
        exec "$@"
        """,
}


class Installing(unittest.TestCase):
    """install-packages with a pretended dpkg and apt."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name, body in FAKES.items():
            path = self.bin / name
            path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
            path.chmod(0o755)
        for name in ("sh", "sed", "dirname", "env"):
            (self.bin / name).symlink_to(f"/usr/bin/{name}")
        self.log = self.folder / "log"

    def install(self, packages, **environment):
        path = self.folder / "packages.txt"
        path.write_text(packages)
        self.log.write_text("")
        done = subprocess.run(
            ["/bin/sh", ROOT / "tools/lib/install-packages", "--list", path],
            env={"PATH": str(self.bin), "LOG": str(self.log), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.assertEqual(done.stdout, "")
        return done.returncode, done.stderr, self.log.read_text()

    def test_nothing_missing(self):
        found = self.install("# list\nhave-a # why\n\nhave-b\n")
        self.assertEqual(found, (0, "", ""))

    def test_missing(self):
        code, text, log = self.install("have-a\nlib-b\nlib-c # why\n")
        self.assertEqual(code, 0, text)
        self.assertIn("installing Debian packages: lib-b lib-c", text)
        update, install = log.splitlines()
        self.assertTrue(update.endswith(" update"))
        self.assertTrue(
            install.endswith(
                " install --yes --no-install-recommends lib-b lib-c"
            )
        )

    def test_lists_that_do_not_update_are_no_reason_to_stop(self):
        code, text, log = self.install("lib-b\n", FAKE_UPDATE="100")
        self.assertEqual(code, 0)
        self.assertIn("warning: apt-get update failed", text)
        self.assertIn("install", log)

    def test_no_llvm(self):
        code, text, log = self.install("lib-b\nlost-mlir-22-dev\n")
        self.assertEqual(code, 1)
        self.assertNotIn("install", log)
        self.assertIn(
            "error[MOE0120]: no source of apt has LLVM 22: lost-mlir-22-dev\n"
            " --> /etc/apt/sources.list*\n"
            "because Debian 12 has it among the security updates, other "
            "releases may not\n"
            "fix: add the suite bookworm-security (Debian 12), or the apt "
            "repository that LLVM publishes for your Debian release; then run "
            "this again\n",
            text,
        )

    def test_no_other_package(self):
        _, text, _ = self.install("lost-a\nlost-b\n")
        self.assertIn("no source of apt has: lost-a lost-b\n", text)

    def test_failed_install(self):
        code, text, _ = self.install("lib-b\n", FAKE_INSTALL="100")
        self.assertEqual(code, 1)
        self.assertIn("error[MOE0120]: apt-get install failed\n", text)

    def test_user_with_sudo(self):
        code, _, log = self.install("lib-b\n", FAKE_UID="1000")
        self.assertEqual(code, 0)
        # There is no terminal to ask for a password on.
        self.assertEqual(log.count("sudo -n\n"), 2)

    def test_user_without_sudo(self):
        (self.bin / "sudo").unlink()
        code, text, log = self.install("lib-b\n", FAKE_UID="1000")
        self.assertEqual((code, log), (1, ""))
        self.assertIn("only root can install them\n --> user me\n", text)
        self.assertIn("fix: as root: apt-get install lib-b\n", text)

    def test_no_debian(self):
        (self.bin / "dpkg-query").unlink()
        code, text, _ = self.install("lib-b\n")
        self.assertEqual(code, 1)
        self.assertIn("this is no Debian", text)
        self.assertIn("--no-install", text)


class Scripts(unittest.TestCase):
    def run_script(self, name, *arguments):
        return subprocess.run(
            [ROOT / "tools" / name, "--no-install", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def test_unknown_option(self):
        for name in ("check", "quickstart"):
            done = self.run_script(name, "--bogus")
            self.assertEqual(done.returncode, 2)
            self.assertIn("--bogus", done.stderr)

    def test_help(self):
        for name in ("check", "quickstart"):
            done = self.run_script(name, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(f"tools/{name}", done.stdout)

    def test_ci_is_check(self):
        text = (ROOT / ".ci" / "run").read_text()
        self.assertIn("tools/check", text)
        self.assertTrue(os.access(ROOT / ".ci" / "run", os.X_OK))

    def test_no_model(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script(
                "quickstart", "--no-build", "--out", folder, folder
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn(
                "error[MOE0202]: this is no model directory\n", done.stderr
            )
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
