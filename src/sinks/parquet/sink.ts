export const openParquetSink = (_: unknown): never => { throw new Error('not yet'); };
