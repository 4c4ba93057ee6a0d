"""A run's report as one HTML page: figures, tables, and pictures of samples. It holds no script and
loads nothing: a browser shows it offline.

Every part of the page is made of one key of `report.json`, and is left out where the key is empty.
"""

from zooadapt.workflows.html_report.examples import Example, Examples, Picture
from zooadapt.workflows.html_report.page import NAME, fragment, page
from zooadapt.workflows.html_report.published import to_publish

__all__ = ["NAME", "Example", "Examples", "Picture", "fragment", "page", "to_publish"]
