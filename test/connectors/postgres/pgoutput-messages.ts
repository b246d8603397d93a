// pgoutput messages as the server writes them, for tests that need one that no server would send.

type Piece = Buffer | string;

export const bytes = (...pieces: Piece[]): Buffer =>
  Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)));

export const text = (value: string): Buffer => Buffer.from(`${value}\0`);

export const i16 = (value: number): Buffer => {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
};

export const i32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
};

export const u64 = (value: bigint): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(value);
  return out;
};

/** XLogData around one message. */
export const wal = (message: Buffer, lsn = 0n): Buffer => bytes('w', u64(lsn), u64(lsn), u64(0n), message);

export const begin = (finalLsn: bigint, xid = 1): Buffer => wal(bytes('B', u64(finalLsn), u64(0n), i32(xid)));

export const commit = (commitLsn: bigint, endLsn: bigint): Buffer =>
  wal(bytes('C', Buffer.of(0), u64(commitLsn), u64(endLsn), u64(0n)));

/** The first column is the key if none is named. */
export const relation = (oid: number, columns: readonly string[], key = columns.slice(0, 1)): Buffer => {
  const described = columns.map((name) =>
    bytes(Buffer.of(key.includes(name) ? 1 : 0), text(name), i32(25), i32(-1)),
  );
  return wal(bytes('R', i32(oid), text('public'), text('t'), 'd', i16(columns.length), ...described));
};

type Tuple = readonly (string | null | undefined)[];

const tuple = (values: Tuple): Buffer =>
  bytes(
    i16(values.length),
    ...values.map((value) => {
      if (value === null) return 'n';
      return value === undefined ? 'u' : bytes('t', i32(Buffer.byteLength(value)), value);
    }),
  );

/** I, U or D with a key image, an old image, a new image: what is given is written, in that order. */
export const row = (tag: string, oid: number, images: { k?: Tuple; o?: Tuple; n?: Tuple }): Buffer => {
  const { k, o, n } = images;
  const written = [k && bytes('K', tuple(k)), o && bytes('O', tuple(o)), n && bytes('N', tuple(n))];
  return wal(bytes(tag, i32(oid), ...written.filter((piece) => piece !== undefined)));
};
