"""Great Expectations must be importable where `__main__` is no file: there, Spark Connect's import ends the process."""

import subprocess
import sys

PROGRAM = """
import pyarrow as pa
from cloakhouse.quality.runner import run_suite
suite = {"name": "t-1.0.0", "expectations": [
    {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}]}
print("outcome", run_suite(suite, [pa.table({"a": [1]})]).success)
"""


def test_a_program_without_a_file_gets_an_outcome_and_not_a_silent_end() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "outcome True"
    assert done.returncode == 0
