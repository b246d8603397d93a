// Owns one repair of this process, to be imported before DuckDB's library, which decodes every text with a
// TextDecoder of its own: a plain one drops a leading U+FEFF, and two keys would become one.

class WholeTextDecoder extends TextDecoder {
  constructor(label?: string, options?: ConstructorParameters<typeof TextDecoder>[1]) {
    super(label, { ignoreBOM: true, ...options });
  }
}

globalThis.TextDecoder = WholeTextDecoder;
