# Visits a table as somebody else's Spark would: reads its metadata tables, looks for orphans, rewrites its files, deletes a
# row and changes nothing else. Prints JSON.
#
#   spark_visit.py JAR WAREHOUSE
import json
import os
import sys

from pyspark.sql import SparkSession

os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
jar, warehouse = sys.argv[1:]
settings = {
    "spark.jars": jar,
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.catalog.h": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.h.type": "hadoop",
    "spark.sql.catalog.h.warehouse": f"file://{warehouse}",
}
builder = SparkSession.builder.master("local[2]").appName("visit")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
table = "h.public.orders"


def count(query):
    return spark.sql(f"SELECT count(*) FROM {query}").collect()[0][0]


def call(procedure, arguments=""):
    return [row.asDict() for row in spark.sql(f"CALL h.system.{procedure}(table => 'public.orders'{arguments})").collect()]


before = {
    "rows": count(table),
    "files": count(f"{table}.all_files"),
    "current_files": count(f"{table}.files"),
    "positions": count(f"{table}.position_deletes"),
    "partitions": count(f"{table}.partitions"),
    "snapshots": count(f"{table}.snapshots"),
    "by_key": [count(f"{table} WHERE is_current AND pk = {pk}") for pk in (0, 7, 12, 63)],
    "orphans": [row["orphan_file_location"] for row in call("remove_orphan_files", ", dry_run => true")],
}
rewritten = call("rewrite_data_files", ", options => map('rewrite-all', 'true', 'delete-file-threshold', '1')")
call("rewrite_manifests")
spark.sql(f"DELETE FROM {table} WHERE is_current AND pk = 0")
after = {"rows": count(table)}
print("RESULT " + json.dumps({"before": before, "after": after, "rewritten": rewritten[0]["rewritten_data_files_count"]}))
