# Reads an Iceberg table with one independent engine and prints its rows as canonical JSON lines. Knows no table of ours.
#
#   read_table.py --engine pyiceberg|duckdb|spark [--jar JAR] [--metadata FILE [--snapshot-id N] [--columns A,B]]
#
# With --metadata: the rows of that table, and an end. Without it: one JSON request a line on standard input,
# {"metadata": FILE, "snapshot_id": N?, "columns": [..]?}, each answered by {"rows": N} and N lines, or by {"error": TEXT}.
# One row is one object with sorted keys, and the lines are sorted. Timestamps are ISO with six digits (and Z when zoned),
# decimals and whole numbers beyond 2^53 are text, binary is hex, maps are lists of pairs, not-a-number and infinity are text.
import argparse
import contextlib
import decimal
import json
import os
import sys
import uuid

import pyarrow as pa

DAY_US = 86_400_000_000


def iso_date(days):
    """Days since 1970 as an ISO date of the proleptic Gregorian calendar; any year, where Python stops at 9999."""
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    rest = day - (365 * year + year // 4 - year // 100)
    month = (5 * rest + 2) // 153
    number = month + 3 if month < 10 else month - 9
    text_year = year + era * 400 + (number <= 2)
    sign = "-" if text_year < 0 else ""
    return f"{sign}{abs(text_year):04d}-{number:02d}-{rest - (153 * month + 2) // 5 + 1:02d}"


def iso_time(us):
    seconds, fraction = divmod(us, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"


def iso_timestamp(us, zoned):
    days, rest = divmod(us, DAY_US)
    return f"{iso_date(days)}T{iso_time(rest)}{'Z' if zoned else ''}"


def plain_float(value):
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def plain_int(value):
    return value if abs(value) <= 2**53 else str(value)


def each(values, convert):
    return [None if value is None else convert(value) for value in values]


def as_micros(array, kind):
    """Temporal values as whole microseconds. A unit finer than that must not carry more."""
    unit = kind.unit if hasattr(kind, "unit") else "us"
    numbers = array.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()).to_pylist()
    if unit == "ns":
        if any(number is not None and number % 1000 for number in numbers):
            raise ValueError("a value has nanoseconds")
        return each(numbers, lambda number: number // 1000)
    factor = {"s": 1_000_000, "ms": 1000, "us": 1}[unit]
    return each(numbers, lambda number: number * factor)


def plain_nested(array, kind):
    valid = array.is_valid().to_pylist()
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        columns = [plain(array.field(index)) for index in range(len(names))]
        return [dict(zip(names, cells)) if ok else None for ok, *cells in zip(valid, *columns)]
    offsets = array.offsets.to_pylist()
    if pa.types.is_map(kind):
        pairs = [list(pair) for pair in zip(plain(array.keys), plain(array.items))]
        spans = [sorted(pairs[a:b], key=json.dumps) for a, b in zip(offsets, offsets[1:])]
    else:
        items = plain(array.values)
        spans = [items[a:b] for a, b in zip(offsets, offsets[1:])]
    return [span if ok else None for ok, span in zip(valid, spans)]


def plain(array):
    """An Arrow array as a list of JSON values."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return each(array.storage.to_pylist(), lambda value: str(uuid.UUID(bytes=value)))
        return plain(array.storage)
    if pa.types.is_dictionary(kind):
        return plain(array.dictionary_decode())
    if pa.types.is_nested(kind):
        return plain_nested(array, kind)
    if pa.types.is_timestamp(kind):
        return each(as_micros(array, kind), lambda us: iso_timestamp(us, kind.tz is not None))
    if pa.types.is_time(kind):
        return each(as_micros(array, kind), iso_time)
    if pa.types.is_date(kind):
        return each(array.cast(pa.date32()).cast(pa.int32()).to_pylist(), iso_date)
    values = array.to_pylist()
    if pa.types.is_floating(kind):
        return each(values, plain_float)
    if pa.types.is_integer(kind):
        return each(values, plain_int)
    if pa.types.is_decimal(kind):
        return each(values, lambda value: format(decimal.Decimal(value), "f"))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return values
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return each(values, lambda value: value.hex())
    raise TypeError(f"no canonical form for {kind}")


def canonical_lines(table):
    names = table.column_names
    lines = []
    for batch in table.to_batches():
        columns = [plain(column) for column in batch.columns]
        for cells in zip(*columns):
            lines.append(json.dumps(dict(zip(names, cells)), sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    return sorted(lines)


def open_pyiceberg(_options):
    from pyiceberg.table import StaticTable

    # The credentials come by AWS's own variables.
    named = {"s3.endpoint": "AWS_ENDPOINT_URL", "s3.region": "AWS_REGION"}
    store = {name: os.environ[variable] for name, variable in named.items() if variable in os.environ}

    def read(metadata, snapshot_id, columns):
        table = StaticTable.from_metadata(metadata if is_remote(metadata) else f"file://{metadata}", store)
        return table.scan(snapshot_id=snapshot_id, selected_fields=tuple(columns or ["*"])).to_arrow()

    return read


def open_duckdb(_options):
    import duckdb

    connection = duckdb.connect()
    for name in ("avro", "httpfs", "iceberg"):
        package = __import__(f"duckdb_extension_{name}")
        folder = os.path.dirname(package.__file__)
        connection.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
    connection.execute("SET TimeZone = 'UTC'")
    if "AWS_ENDPOINT_URL" in os.environ:
        key, secret, url = (os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "ENDPOINT_URL"))
        scheme, host = url.split("://")
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{host}', "
            f"URL_STYLE 'path', USE_SSL {str(scheme == 'https').lower()})"
        )

    def read(metadata, snapshot_id, columns):
        chosen = ", ".join(quoted(name, '"') for name in columns) if columns else "*"
        version = "" if snapshot_id is None else f", snapshot_from_id = {int(snapshot_id)}"
        return connection.execute(f"SELECT {chosen} FROM iceberg_scan(?{version})", [metadata]).to_arrow_table()

    return read


def open_spark(options):
    from pyspark.sql import SparkSession

    # 127.0.0.1, because the machine's own name need not resolve.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master("local[2]").appName("read_table")
    settings = {
        "spark.jars": options.jar,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "1g",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.log.level": "ERROR",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()

    def read(metadata, snapshot_id, columns):
        source = session.read.format("iceberg")
        if snapshot_id is not None:
            source = source.option("versionAsOf", int(snapshot_id))
        frame = source.load(f"file://{metadata}")
        return (frame.select([quoted(name, "`") for name in columns]) if columns else frame).toArrow()

    return read


def quoted(name, mark):
    return mark + name.replace(mark, mark * 2) + mark


def is_remote(metadata):
    return metadata.startswith("s3://")


def answer(read, request, out):
    try:
        snapshot_id = request.get("snapshot_id")
        path = request["metadata"] if is_remote(request["metadata"]) else os.path.abspath(request["metadata"])
        lines = canonical_lines(read(path, None if snapshot_id is None else int(snapshot_id), request.get("columns")))
    except Exception as error:  # the caller decides what a reader's failure means
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=out, flush=True)
        return
    print(json.dumps({"rows": len(lines)}), file=out)
    for line in lines:
        print(line, file=out)
    out.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True, choices=["pyiceberg", "duckdb", "spark"])
    parser.add_argument("--jar")
    parser.add_argument("--metadata")
    parser.add_argument("--snapshot-id", type=int)
    parser.add_argument("--columns")
    options = parser.parse_args()
    read = {"pyiceberg": open_pyiceberg, "duckdb": open_duckdb, "spark": open_spark}[options.engine](options)
    # An engine may chat on standard output; the answers keep it for themselves.
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        if options.metadata:
            columns = options.columns.split(",") if options.columns else None
            for line in canonical_lines(read(os.path.abspath(options.metadata), options.snapshot_id, columns)):
                print(line, file=out)
            return
        for line in sys.stdin:
            answer(read, json.loads(line), out)


main()
