# Merges changes into a table as Spark does it: MERGE INTO, which closes the current version of every changed row and adds
# the new one. Starting Spark is not counted. Prints JSON.
#
#   table_merge.py JAR WAREHOUSE NAMESPACE.TABLE CHANGES MODE
import json
import os
import sys
import time

from pyspark.sql import SparkSession

os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
jar, warehouse, name, changes, mode = sys.argv[1:]
settings = {
    "spark.jars": jar,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.driver.memory": "4g",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.catalog.h": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.h.type": "hadoop",
    "spark.sql.catalog.h.warehouse": f"file://{warehouse}",
}
builder = SparkSession.builder.master("local[2]").appName("merge")
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.sql(f"ALTER TABLE h.{name} SET TBLPROPERTIES ('write.merge.mode' = '{mode}')")
spark.read.parquet(changes).createOrReplaceTempView("changes")

# Each change comes twice: with its key it closes the row that is there, without it goes in.
started = time.monotonic()
spark.sql(f"""
    MERGE INTO h.{name} t
    USING (SELECT id AS open_id, * FROM changes UNION ALL SELECT NULL AS open_id, * FROM changes) s
    ON t.id = s.open_id AND t.is_current
    WHEN MATCHED THEN UPDATE SET
      valid_to = s.valid_from, is_current = false, _order_end = s._order, _closed_by = 'u'
    WHEN NOT MATCHED AND s.open_id IS NULL THEN INSERT *
""")
seconds = time.monotonic() - started
closed = spark.sql(f"SELECT count(*) FROM h.{name} WHERE NOT is_current").collect()[0][0]
print("RESULT " + json.dumps({"seconds": seconds, "closed": closed}))
