// Reads solc standard JSON from standard input, one request a line; writes the compiler's answers, one a line.
// The one argument is the directory that holds `node_modules/solc`.
const path = require("path");
const readline = require("readline");
const solc = require(path.join(path.resolve(process.argv[2]), "node_modules", "solc"));

readline.createInterface({ input: process.stdin }).on("line", (request) => {
  const output = JSON.parse(solc.compile(request));
  output.compiler = solc.version();
  process.stdout.write(JSON.stringify(output) + "\n");
});
