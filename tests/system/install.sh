#!/usr/bin/env bash
# Installs what the system tests need and lack, when run as root on Debian; else says what is absent.
# Never fails for an absent part: its tests are deselected by name.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}

read -r -a packages <<<"$("$PYTHON" -m tests.system.parts --packages)"
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  # A fresh nginx would otherwise start and take port 80; the tests start their own.
  guard=/usr/sbin/policy-rc.d
  if [ ! -e $guard ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >$guard && chmod +x $guard
  fi
  echo "Installing ${packages[*]} ..."
  apt-get update -qq || echo "apt-get update failed; trying with the lists that are here"
  install=(apt-get install -y -qq --no-install-recommends)
  if ! "${install[@]}" "${packages[@]}" >/dev/null; then
    for package in "${packages[@]}"; do
      "${install[@]}" "$package" >/dev/null || echo "$package cannot be installed"
    done
  fi
elif [ ${#packages[@]} -gt 0 ]; then
  echo "Not root, or no apt-get: nothing is installed. As root: apt-get install ${packages[*]}"
fi

# The one thing that is no Debian package. Its lock pins versions and hashes; npm knows from where.
told=$("$PYTHON" -m tests.system.parts)
if command -v npm >/dev/null && grep -q '^tsdav *absent' <<<"$told"; then
  folder=$("$PYTHON" -c 'from tests.system.parts import TSDAV; print(TSDAV)')
  { mkdir -p "$folder" &&
    cp tests/system/tsdav/package.json tests/system/tsdav/package-lock.json "$folder/" &&
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error; } ||
    echo "tsdav cannot be fetched from npm"
fi

"$PYTHON" -m tests.system.parts
