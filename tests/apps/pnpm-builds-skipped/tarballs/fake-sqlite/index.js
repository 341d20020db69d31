const { existsSync, readFileSync } = require("node:fs");
const { join } = require("node:path");

module.exports = function open() {
  const bindings = join(__dirname, "bindings.txt");
  if (!existsSync(bindings)) throw new Error("Could not locate the bindings file");
  return readFileSync(bindings, "utf8");
};
