"""What a report's page holds for its script."""

import json
import re


def data_of(page: str) -> dict:
    """Return the data of a report's pictures, as its script reads them."""
    (text,) = re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)
