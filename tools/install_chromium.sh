#!/bin/sh
# Browser tests need Chromium. Install it where that can be done without asking anybody, else say what is skipped.
set -u
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "Installing Chromium for the browser tests (once)"
  export DEBIAN_FRONTEND=noninteractive
  if timeout 120 apt-get update -qq >/dev/null 2>&1 \
    && timeout 400 apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; then
    exit 0
  fi
fi
echo "Chromium is not installed and cannot be installed here: tests marked 'browser' are skipped."
