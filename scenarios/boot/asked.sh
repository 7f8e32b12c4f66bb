#!/bin/sh
# What boot/debian asks the new system: a script of the host, which its own first line interprets.
set -eu
echo "asked as $(id -un) of $(uname -s)"
