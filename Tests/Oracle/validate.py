"""validate.py SCHEMA DOCUMENT: does the document satisfy the JSON Schema, and is the schema one?"""

import json
import sys

import jsonschema

schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
errors = list(jsonschema.Draft202012Validator(schema).iter_errors(json.load(open(sys.argv[2]))))
for error in errors[:5]:
    print(error.json_path, error.message)
sys.exit(bool(errors))
