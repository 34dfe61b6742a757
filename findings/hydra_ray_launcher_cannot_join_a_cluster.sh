#!/usr/bin/env bash
# Guess: hydra.launcher.ray.init.address=auto, as the plugin's documentation has it, runs
# the jobs of a sweep on a Ray cluster that is there.
#
# Seen: The launcher adds object_store_memory=78643200 to every ray.init, and Ray refuses
# any value of it where a cluster is there already: "When connecting to an existing
# cluster, object_store_memory must not be provided." With the key set to null in the
# configuration the same command works: the plugin fills in what is missing alone.
#
# Versions: hydra-ray-launcher 1.2.2, ray 2.60.0, hydra-core 1.3.8, Python 3.11.
#
# Why it matters: without a cluster the launcher works, and who tries it on one machine
# first learns of it on the cluster; the error names a key that nobody has set.
set -euo pipefail
folder=$(mktemp -d /tmp/rayXXXX)  # short: Ray's sockets lie in it
cluster=
trap '[ -z "$cluster" ] || { kill "$cluster"; wait "$cluster" || true; }; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hydra-core==1.3.8 hydra-ray-launcher==1.2.2 'ray[default]==2.60.0'
export RAY_TMPDIR=$folder
cat > "$folder/sweep.py" <<'EOF'
import hydra


@hydra.main(config_path=None, version_base="1.3")
def main(config):
    print("ran", config.number)


main()
EOF
cd "$folder"  # Ray's workers write where the cluster was started
venv/bin/ray start --head --num-cpus 1 --port 6398 --include-dashboard=false \
    --disable-usage-stats --block > "$folder/started" 2>&1 &
cluster=$!
for _ in $(seq 60); do
    venv/bin/ray status --address 127.0.0.1:6398 > status 2>&1 && break
    sleep 1
done
sweep() { venv/bin/python sweep.py -m +number=1,2 hydra/launcher=ray "$@" > said 2>&1; }
echo "expected: a sweep with hydra.launcher.ray.init.address=auto runs on the cluster"
if sweep hydra.launcher.ray.init.address=auto; then
    echo "the behaviour has changed"
    exit 1
fi
echo "seen:     $(grep -o 'When connecting .*' said)"
sweep hydra.launcher.ray.init.address=auto +hydra.launcher.ray.init.object_store_memory=null
echo "          with +hydra.launcher.ray.init.object_store_memory=null: $(grep -c 'ran [12]' said) jobs ran"
