#!/bin/sh
# Runs a module of stages on the project's own interpreter, whatever PATH and PYTHONPATH say: DVC's commands in dvc.yaml.
# Where there is no .venv, as on Kaggle or in DVC's copy for an experiment, it is the python on PATH.
module=stages.$1
shift
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP
if [ -x .venv/bin/python ]; then
    exec .venv/bin/python -m "$module" "$@"
fi
if command -v python >/dev/null 2>&1; then
    exec python -m "$module" "$@"
fi
echo "no interpreter: .venv/bin/python is missing, and no python is on PATH; run make repro, which sets up .venv" >&2
exit 1
