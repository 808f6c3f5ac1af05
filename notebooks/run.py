"""Run a notebook from top to bottom and keep what it shows.

    python notebooks/run.py notebooks/01_quickstart.ipynb

EARNEST_SMALL=1 in the environment makes the notebooks quick (the tests run them so); what is committed is the full run.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent


def execute(path: Path) -> nbformat.NotebookNode:
    """Run the notebook at `path` in its own folder and return it with its outputs; a failing cell raises."""
    notebook = nbformat.read(path, as_version=4)
    # the kernel listens on this machine only; what it has to say about that would drown what the notebook prints
    quiet = ["--IPKernelApp.log_level=ERROR"]
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False, extra_arguments=quiet)
    return client.execute(cwd=str(path.parent))


def headline(notebook: nbformat.NotebookNode) -> str:
    """The text that the cell with the tag `headline` printed: the notebook's one number, for the tests."""
    (cell,) = (cell for cell in notebook.cells if "headline" in cell.metadata.get("tags", []))
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        done = execute(Path(name).resolve())
        done.metadata.pop("language_info", None)  # the Python that happened to run it
        nbformat.write(done, name)
        print(f"{name}: {headline(done).strip()}")
