import sys

# Of use to nobody here, and a second of every start: a grammar of web addresses, for which jsonschema looks by itself.
sys.modules.setdefault("rfc3987_syntax", None)
