#!/bin/sh
# The Node.js tests need the packages that clients/node-grpc/package-lock.json pins. Nothing is run by installing them.
set -u
cd "$(dirname "$0")/../clients/node-grpc" || exit 1
if ! command -v npm >/dev/null 2>&1; then
  echo "Node.js with npm is not installed: tests marked 'node' are skipped."
  exit 0
fi
[ node_modules/.package-lock.json -nt package-lock.json ] && exit 0
echo "Installing what the Node.js tests need (once)"
npm ci --ignore-scripts --silent || echo "npm cannot install its packages here: tests marked 'node' are skipped."
