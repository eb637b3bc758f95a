// Reads solc standard JSON from standard input, writes the compiler's answer to standard output.
// The one argument is the directory that holds `node_modules/solc`.
const path = require("path");
const solc = require(path.join(path.resolve(process.argv[2]), "node_modules", "solc"));

const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const output = JSON.parse(solc.compile(JSON.stringify(input)));
output.compiler = solc.version();
process.stdout.write(JSON.stringify(output));
