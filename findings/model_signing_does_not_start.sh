#!/usr/bin/env bash
# Guess: a package that pip installs without a complaint can be imported.
#
# Seen: model_signing imports OpenSSL, of pyOpenSSL, whatever way of signing is meant. It
# does not require it. Older sigstore, which it requires, did; newer sigstore does not.
# With pyOpenSSL installed beside it, it starts.
#
# Versions: model-signing 1.1.1, sigstore 4.5.1, pyOpenSSL 26.4.0.
#
# Why it matters: Whoever ships a corrected model signs it: a step that installs the
# signer and its own requirements fails at the first signature, not at the installation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet model-signing==1.1.1 sigstore==4.5.1
"$folder/venv/bin/pip" check
echo "expected: model_signing says its version"
if said=$("$folder/venv/bin/model_signing" --version 2>&1); then
  echo "seen:     $said"
  echo "the behaviour has changed"
  exit 1
fi
echo "seen:     ${said##*$'\n'}"
[ "${said##*$'\n'}" = "ModuleNotFoundError: No module named 'OpenSSL'" ]
"$folder/venv/bin/pip" install --quiet pyOpenSSL==26.4.0
echo "with pyOpenSSL: $("$folder/venv/bin/model_signing" --version)"
