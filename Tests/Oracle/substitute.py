"""substitute.py CASES: what Python's re makes of each [pattern, replacement, flags, name], as a list of JSON."""

import json
import re
import sys

results = []
for pattern, replacement, flags, name in json.load(open(sys.argv[1])):
    options = re.DOTALL | re.ASCII | (re.IGNORECASE if "i" in flags else 0)
    target = re.sub(r"\\[0-9&]|&|\\", lambda m: {"&": r"\g<0>", "\\&": "&"}.get(m[0], m[0]), replacement)
    results.append(re.sub(pattern, target, name, count=0 if "g" in flags else 1, flags=options))
print(json.dumps(results))
