// Owns the PostgreSQL source as the pipeline sees it: puts slot, publication, snapshot, log and checks together. Lives for
// one attempt: what breaks a connection of it is mended by opening another.
import type pg from 'pg';
import type { LogReader } from '../../src/capture/log-reader.ts';
import type { ResumePoint } from '../../src/change/event.ts';
import type { TableName, TableSchema } from '../../src/change/schema.ts';
import type { Finding, Identity, SnapshotRequest, Source, SourceContext } from '../../src/connector.ts';
import type { PreparedTable, SourceBlock } from '../../src/topic/prepared-table.ts';
import { openClient } from './connection.ts';
import { makeLogReader } from './log-reader.ts';
import { formatLsn, parseLsn } from './lsn.ts';
import type { Settings } from './options.ts';
import { makeSourceBlock, makeSourcePosition } from './source-block.ts';
import * as parts from './source-parts.ts';
