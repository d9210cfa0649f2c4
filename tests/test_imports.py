"""What importing the package costs."""

import json
import subprocess
import sys


HEAVY = ("av", "cv2", "soxr", "trl", "peft", "gradio", "datasets", "matplotlib")
SCRIPT = """
import json, sys
from transformers import PreTrainedModel, ProcessorMixin
before = set(sys.modules)
import transformers_empathav
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_package_imports_no_heavy_library():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    imported = json.loads(done.stdout)
    assert "transformers_empathav" in imported
    assert not {name for name in imported if name.partition(".")[0] in HEAVY}


def test_the_public_names_are_there():
    import transformers_empathav

    for name in transformers_empathav.__all__:
        assert vars(transformers_empathav)[name] is not None
