# Runs the statements that come on standard input, as an engine's own shell would, and prints the rows of the last one as
# JSON lines. The engines are the Python packages of DuckDB and ClickHouse. Knows no table of ours.
#
#   run_statements.py duckdb|clickhouse
import json
import os
import shutil
import sys
import tempfile


def run_duckdb(text):
    """DuckDB's extensions come as packages here, so a folder of installed extensions is made of them."""
    import duckdb

    version = f"v{duckdb.__version__}"
    platform = duckdb.sql("PRAGMA platform").fetchone()[0]
    with tempfile.TemporaryDirectory() as folder:
        installed = os.path.join(folder, version, platform)
        os.makedirs(installed)
        for name in ("avro", "aws", "httpfs", "iceberg"):
            package = __import__(f"duckdb_extension_{name}")
            file = f"{name}.duckdb_extension"
            shutil.copy(os.path.join(os.path.dirname(package.__file__), "extensions", version, file), installed)
        connection = duckdb.connect(config={"extension_directory": folder})
        found = connection.execute(text)
        names = [column[0] for column in found.description]
        print_rows([dict(zip(names, row)) for row in found.fetchall()])


def run_clickhouse(text):
    from chdb import session

    with tempfile.TemporaryDirectory() as folder:
        # Local tables must be below the folder that it runs in.
        os.chdir("/")
        server = session.Session(folder)
        *before, last = [statement for statement in text.split(";\n") if statement.strip()]
        for statement in before:
            server.query(statement)
        lines = str(server.query(last.rstrip().rstrip(";"), "JSONEachRow")).splitlines()
        server.close()
    print_rows([json.loads(line) for line in lines if line])


def print_rows(rows):
    for row in rows:
        print(json.dumps(row, default=str))


{"duckdb": run_duckdb, "clickhouse": run_clickhouse}[sys.argv[1]](sys.stdin.read())
