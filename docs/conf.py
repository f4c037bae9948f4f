"""How the documentation is built: ``sphinx-build -W -b html docs docs/_build/html``."""

from importlib.metadata import version as version_of
from pathlib import Path

project = "volflow"
copyright = "the volflow authors"
version = release = version_of("volflow")

extensions = [
    "cliff.sphinxext",
    "oslo_config.sphinxext",
    "oslo_config.sphinxconfiggen",
    "reno.sphinxext",
    "sphinx.ext.autodoc",
]
exclude_patterns = ["_build"]
# The generated sample of volflow.conf goes there, wherever the pages go.
Path(__file__).with_name("_build").mkdir(exist_ok=True)

html_theme = "alabaster"
html_theme_options = {
    "description": "Back up and restore OpenStack Cinder volumes",
    "fixed_sidebar": True,
    "page_width": "1080px",
    "sidebar_width": "240px",
}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_static_path = ["_static"]
html_css_files = ["volflow.css"]
html_show_sourcelink = False

# The command reference comes from the commands themselves.
autoprogram_cliff_application = "volflow"
autoprogram_cliff_app_dist_name = "volflow"
# The options for printing tables are the same for all commands: commands.rst lists them once.
autoprogram_cliff_ignored = [
    "--help",
    "--column",
    "--fit-width",
    "--format",
    "--max-width",
    "--noindent",
    "--prefix",
    "--print-empty",
    "--quote",
    "--sort-ascending",
    "--sort-column",
    "--sort-descending",
]

# The sample of volflow.conf comes from the options; it is read by configuration.rst.
config_generator_config_file = [("../etc/volflow-config-generator.conf", "_build/volflow")]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
