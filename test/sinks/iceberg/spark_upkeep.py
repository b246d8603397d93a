# Keeps a paused table as somebody else's Spark would: merges its files by their sort order, its deletes and its manifests,
# lets its snapshots go. Prints JSON.
#
#   spark_upkeep.py JAR WAREHOUSE NAMESPACE.TABLE
import json
import os
import sys

from pyspark.sql import SparkSession

os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
jar, warehouse, name = sys.argv[1:]
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
builder = SparkSession.builder.master("local[2]").appName("upkeep")
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()


def call(procedure, arguments=""):
    rows = spark.sql(f"CALL h.system.{procedure}(table => '{name}'{arguments})").collect()
    return {key: str(value) for key, value in rows[0].asDict().items()} if rows else {}


def rows():
    return spark.sql(f"SELECT count(*) FROM h.{name}").collect()[0][0]


before = rows()
done = {
    "packed": call("rewrite_data_files", ", options => map('rewrite-all', 'true', 'delete-file-threshold', '1')"),
    "deletes": call("rewrite_position_delete_files", ", options => map('rewrite-all', 'true')"),
    "sorted": call("rewrite_data_files", ", strategy => 'sort', options => map('rewrite-all', 'true')"),
    "manifests": call("rewrite_manifests"),
    "expired": call("expire_snapshots", ", older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1"),
}
partitions = spark.sql(f"SELECT count(*) FROM h.{name}.partitions").collect()[0][0]
print("RESULT " + json.dumps({"before": before, "after": rows(), "partitions": partitions, "done": done}))
