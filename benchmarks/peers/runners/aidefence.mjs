// Texts as JSON lines on stdin → one JSON line each on stdout, then one with the seconds that judging took.
// Run with the folder that holds node_modules as its argument.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const name = "@claude-flow/aidefence";
const root = join(resolve(process.argv[2]), "node_modules", name);
const { version, exports } = createRequire(import.meta.url)(join(root, "package.json"));
const { createThreatDetectionService } = await import(pathToFileURL(join(root, exports["./detection"].import)));

const texts = readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line).text);
const service = createThreatDetectionService();
texts.slice(0, 20).forEach((text) => service.detect(text));
const started = performance.now();
const answers = texts.map((text) => service.detect(text));
const seconds = (performance.now() - started) / 1000;
for (const { safe, threats } of answers) {
  const score = Math.max(0, ...threats.map((threat) => threat.confidence));
  console.log(JSON.stringify({ flagged: !safe, score }));
}
console.log(JSON.stringify({ seconds, version: `${name} ${version}` }));
