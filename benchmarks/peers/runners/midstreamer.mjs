// One JSON line on stdin, {kind: "dtw" | "lcs", queries, patterns} → a line of all pairs; each later line asks for them again.
// Run with the unpacked package as its argument.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const { TemporalCompare } = createRequire(import.meta.url)(join(resolve(process.argv[2]), "pkg-node", "midstream_wasm.js"));
const compare = new TemporalCompare();
let call;

for await (const line of createInterface({ input: process.stdin })) {
  if (!call) {
    const { kind, queries, patterns } = JSON.parse(line);
    const [one, kept] = kind === "dtw" ? [compare.dtw, Float64Array] : [compare.lcs, Int32Array];
    const rows = queries.map((row) => kept.from(row));
    const bank = patterns.map((row) => kept.from(row));
    call = () => rows.map((row) => bank.map((pattern) => one.call(compare, row, pattern)));
  }
  console.log(JSON.stringify(call()));
}
