# Asks PyIceberg for each row of a table by each of its values, and prints the questions that lost the row: wrong bounds,
# wrong partition values and wrong buckets all show here and nowhere else.
#
#   filter_rows.py METADATA
import sys

from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.table import StaticTable

table = StaticTable.from_metadata(f"file://{sys.argv[1]}")
rows = table.scan().to_arrow().to_pylist()
asked = 0
for row in rows[::7]:
    for name, value in row.items():
        if value is None or isinstance(value, list) or value != value:
            continue
        key = And(EqualTo("pk", row["pk"]), EqualTo("is_current", row["is_current"]))
        for term in (EqualTo(name, value), And(LessThanOrEqual(name, value), GreaterThanOrEqual(name, value))):
            asked += 1
            found = table.scan(row_filter=And(key, term)).to_arrow().to_pylist()
            if not any(one[name] == value for one in found):
                print(f"lost {name} of {row['pk']}")
print(f"asked {asked}")
