// Runs the Khronos glTF validator over files and prints one JSON object: { "<file>": { errors, warnings, infos, hints, messages } }.
// Usage: node validate.mjs FILE.glb [FILE.glb ...]
// Exit status: 0 if no file has an error or a warning, 1 if one has, 2 if a file cannot be read or is no glTF at all.
import { readFile } from 'node:fs/promises';
import validator from 'gltf-validator';

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: node validate.mjs FILE.glb [FILE.glb ...]');
  process.exit(2);
}

const results = {};
let status = 0;
for (const file of files) {
  try {
    const report = await validator.validateBytes(new Uint8Array(await readFile(file)), { uri: file, maxIssues: 0 });
    const { numErrors, numWarnings, numInfos, numHints, messages } = report.issues;
    results[file] = {
      errors: numErrors,
      warnings: numWarnings,
      infos: numInfos,
      hints: numHints,
      messages: messages.map(({ code, message, severity, pointer }) => ({ code, message, severity, pointer })),
    };
    if (numErrors + numWarnings > 0) status = Math.max(status, 1);
  } catch (error) {
    results[file] = { errors: 1, warnings: 0, infos: 0, hints: 0, messages: [{ code: 'UNREADABLE', message: String(error), severity: 0 }] };
    status = 2;
  }
}
console.log(JSON.stringify(results, null, 2));
process.exit(status);
