#!/usr/bin/env bash
# Gradescope runs this once, when it builds the image, with this folder's zip in /autograder/source.
set -euo pipefail
apt-get update
apt-get install -y --no-install-recommends bubblewrap git make python3 python3-venv
rm -rf /var/lib/apt/lists/*
cd /autograder/source/course
python3 -m course_utils.setup
