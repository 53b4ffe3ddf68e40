"""The manual: README and docs as they are, commands and the Python interface from the source."""

from oomkit import __version__

project = "oomkit"
author = "The oomkit maintainers"
project_copyright = "The oomkit maintainers, MIT license"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["*.md", "docs/*.md"]
master_doc = "index"

myst_heading_anchors = 4
# Console examples and logs are text; JSON beside comments is none that a lexer would take.
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_attr_annotations = True

html_theme = "furo"
html_title = "oomkit"
html_favicon = "../pages/icon.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}
