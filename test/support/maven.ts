// Java programs of the tests: which Java runs them, and how their jars come, by Maven, into the cache folder.
// Names no repository: that is Maven's own settings.
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeOnce } from './make-once.ts';

const run = promisify(execFile);

/** Where tests install what npm does not bring; outside the tracked files. */
export const cacheFolder = resolve(
  process.env.VARVE_CACHE ?? fileURLToPath(new URL('../../.cache', import.meta.url)),
);

const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';
const JAVA_FOLDERS = ['/usr/lib/jvm', '/opt/java', '/Library/Java/JavaVirtualMachines'];

type Java = { readonly path: string; readonly version: string };

/** A coordinate `group:artifact:version`, and `group:artifact` of what it must not bring along. */
type Artifact = string | { readonly artifact: string; readonly without: readonly string[] };

/**
 * Finds the first Java of at least this major version: `JAVA_HOME`, the PATH, then the folders where systems
 * keep theirs. Fails with a sentence.
 */
export const findJava = (major: number): Promise<Java> => {
  const found = foundJavas.get(major) ?? searchJava(major);
  foundJavas.set(major, found);
  return found;
};

const foundJavas = new Map<number, Promise<Java>>();

const searchJava = async (major: number): Promise<Java> => {
  const homes = process.env.JAVA_HOME ? [join(process.env.JAVA_HOME, 'bin/java')] : [];
  const seen: string[] = [];
  for (const path of [...homes, 'java', ...(await installedJavas())]) {
    const java = await askJava(path);
    if (java && Number.parseInt(java.version, 10) >= major) return java;
    if (java) seen.push(java.version);
  }
  throw new Error(
    `The tests need Java ${major} or newer, by JAVA_HOME, on the PATH or below ${JAVA_FOLDERS.join(', ')}; ` +
      `there is ${seen.join(', ') || 'none'} (Debian: openjdk-${major}-jre-headless or newer).`,
  );
};

const installedJavas = async (): Promise<string[]> => {
  const listed = JAVA_FOLDERS.map(async (folder) => {
    const names = await readdir(folder).catch(() => []);
    return names.flatMap((name) => [
      join(folder, name, 'bin/java'),
      join(folder, name, 'Contents/Home/bin/java'),
    ]);
  });
  return (await Promise.all(listed)).flat();
};

const askJava = async (path: string): Promise<Java | null> => {
  try {
    const { stderr } = await run(path, ['-version']);
    const version = /version "([^"]+)"/.exec(stderr)?.[1];
    return version === undefined ? null : { path, version };
  } catch {
    return null;
  }
};

/** The folder `<cache>/<name>` with the jars of these artifacts and of all they need at run time. */
export const ensureJars = (name: string, artifacts: readonly Artifact[]): Promise<string> =>
  makeOnce(join(cacheFolder, name), async (draft) => {
    const jars = join(draft, 'jars');
    await writeFile(join(draft, 'pom.xml'), pomOf(artifacts));
    await maven(draft, [
      `${PLUGIN}:copy-dependencies`,
      `-DoutputDirectory=${jars}`,
      '-DincludeScope=runtime',
    ]);
    return jars;
  });

/**
 * The folder `<cache>/<name>` with the content of one archive `group:artifact:version:tar.gz:classifier` (or
 * `zip`); an archive that is one folder gives what is in it.
 */
export const ensureArchive = (name: string, artifact: string): Promise<string> =>
  makeOnce(join(cacheFolder, name), async (draft) => {
    const [archives, content] = [join(draft, 'archives'), join(draft, 'content')];
    await mkdir(content);
    await maven(draft, [`${PLUGIN}:copy`, `-Dartifact=${artifact}`, `-DoutputDirectory=${archives}`]);
    const [archive] = await readdir(archives);
    if (archive === undefined) throw new Error(`Maven gave no archive for ${artifact}.`);
    const path = join(archives, archive);
    if (archive.endsWith('.zip')) await run('python3', ['-m', 'zipfile', '-e', path, content]);
    else await run('tar', ['-xzf', path, '-C', content]);
    const [only, ...more] = await readdir(content);
    return only !== undefined && more.length === 0 ? join(content, only) : content;
  });

/** The path of one artifact `group:artifact:version:type:classifier`, as it is, in `<cache>/<name>`. */
export const ensureArtifact = async (name: string, artifact: string): Promise<string> => {
  const folder = await makeOnce(join(cacheFolder, name), async (draft) => {
    const target = join(draft, 'artifact');
    await maven(draft, [`${PLUGIN}:copy`, `-Dartifact=${artifact}`, `-DoutputDirectory=${target}`]);
    return target;
  });
  const [file] = await readdir(folder);
  if (file === undefined) throw new Error(`${folder} is empty; remove the folder and run again.`);
  return join(folder, file);
};

/** The jars of a folder as one class path, in the same order each time: a class archive is for one order. */
export const classPath = async (folder: string): Promise<string> => {
  const jars = (await readdir(folder)).filter((name) => name.endsWith('.jar')).sort();
  if (jars.length === 0) throw new Error(`${folder} holds no jar; remove the folder and run again.`);
  return jars.map((name) => join(folder, name)).join(':');
};

const maven = async (folder: string, args: readonly string[]): Promise<void> => {
  try {
    await run('mvn', ['-B', '-q', ...args], { cwd: folder, maxBuffer: 64 << 20 });
  } catch (cause) {
    const { stdout = '', stderr = '' } = cause as { stdout?: string; stderr?: string };
    throw new Error(
      'Kafka, the schema registry and Nessie come by Maven: it needs "mvn" on the PATH (Debian: maven) ' +
        `and a repository that it reaches. It said:\n${stdout}${stderr || cause}`,
      { cause },
    );
  }
};

const pomOf = (artifacts: readonly Artifact[]): string => {
  const dependencies = artifacts.map((entry) => {
    const { artifact, without } = typeof entry === 'string' ? { artifact: entry, without: [] } : entry;
    const exclusions = without.map((excluded) => tag('exclusion', coordinates(excluded)));
    return tag('dependency', coordinates(artifact) + tag('exclusions', exclusions.join('')));
  });
  const project = coordinates('varve:test-programs:1') + tag('packaging', 'pom');
  const body = tag('modelVersion', '4.0.0') + project + tag('dependencies', dependencies.join(''));
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">${body}</project>\n`;
};

const tag = (name: string, content: string): string => `<${name}>${content}</${name}>`;

/** `group:artifact` or `group:artifact:version` */
const coordinates = (text: string): string => {
  const [group = '', artifact = '', version] = text.split(':');
  const name = tag('groupId', group) + tag('artifactId', artifact);
  return version === undefined ? name : name + tag('version', version);
};
