"""The stages of the pipeline, a module or subpackage each, and what they share."""

import sys

# jsonschema, which nbformat and Ray use, would build a grammar of internationalised addresses on import: a second, and
# eight where graphs lie in memory, which Python's collector then visits again and again. There is no such address here;
# None makes that optional import fail, which jsonschema provides for.
sys.modules.setdefault("rfc3987_syntax", None)
