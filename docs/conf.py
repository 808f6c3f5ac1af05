"""Settings of the site: Sphinx over `docs/` and `notebooks/`, from the top of the checkout (`make docs`)."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "site"))

project = "Earnest"
author = "the authors of Earnest"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "sphinx_copybutton", "mathml", "markup"]

# The checkout is the source folder, so that a link between a page and a notebook is the same here and on a forge.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "dist", "*.egg-info", "demo", "tests", "benchmarks", "**/.ipynb_checkpoints"]

# Notebooks are kept executed: they are shown as they are.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Docstrings say `name` for code, and give types in the signature.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["torch", "datasets", "trl"]
napoleon_use_ivar = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Class attributes"]
napoleon_use_param = True
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
html_title = "Earnest"
html_static_path = ["site/static"]
html_css_files = ["earnest.css"]
html_copy_source = False
html_show_search_summary = False  # it would be fetched, which no browser does from the disk
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = re.compile(r">>> |\.\.\. |\$ ").pattern
copybutton_prompt_is_regexp = True
