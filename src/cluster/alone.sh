# Starts a node's containerd by itself and runs containers with it.
#
#   sh alone.sh ROOT WORK
#
# ROOT is the node image's root, which stays as it is. WORK holds `images/*.tar` and `cases/N`, the words of a `ctr run`
# each ended by a NUL, and `cases/N.stdin`; it gets `stage`, how far all came, and for each case `results/N.out`, `.err`, `.exit` and `.first`,
# the microseconds until the first output. Runs in namespaces of its own: first in the host's shell, then in the node's.
set -eu

if [ "${1:-}" != inside ]; then
    root=$1 work=$2
    mount --make-rprivate /
    mkdir "$work/layers" "$work/results"
    mount -t tmpfs -o mode=755 layers "$work/layers"
    mkdir "$work/layers/upper" "$work/layers/work" "$work/layers/root"
    cd "$root"
    mount -t overlay -o "lowerdir=.,upperdir=$work/layers/upper,workdir=$work/layers/work" node "$work/layers/root"
    cd "$work/layers/root"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    # crun refuses hybrid cgroups whose unified side has a controller.
    if mountpoint -q sys/fs/cgroup/unified; then umount sys/fs/cgroup/unified; fi
    for folder in run tmp var/lib/containerd; do
        mkdir -p "$folder"
        mount -t tmpfs -o mode=755 "${folder##*/}" "$folder"
    done
    mkdir run/trial
    mount --bind "$work" run/trial
    ip link set lo up 2>/dev/null || true
    exec chroot . /bin/bash /run/trial/alone.sh inside
fi

trap 'exit 130' TERM INT
cd /run/trial
echo containerd > stage
containerd > containerd.log 2>&1 &
started=$!
until ctr version > /dev/null 2>&1; do
    if ! kill -0 "$started" 2> /dev/null || [ "$SECONDS" -gt 20 ]; then
        tail -n 20 containerd.log >&2
        exit 1
    fi
    sleep 0.02
done
echo images > stage
for image in images/*.tar; do
    [ -e "$image" ] || continue
    ctr images import --all-platforms --no-unpack "$image" > import.log 2>&1 || { cat import.log >&2; exit 1; }
done
echo cases > stage

# Gives a container's input, which ends once the container runs: `ctr` overlooks an end that comes before.
input() {
    cat "cases/$1.stdin"
    until ctr tasks ls | grep -Eq "^$1-[^ ]* +[0-9]+ +(RUNNING|STOPPED)" || [ -e "results/$1.exit" ]; do
        sleep 0.05
    done
}

for ((case = 0; ; case++)); do
    [ -e "cases/$case" ] || break
    mapfile -d '' words < "cases/$case"
    begun=${EPOCHREALTIME/[.,]/}
    set +e
    timeout --kill-after 5 60 ctr run "${words[@]}" < <(input "$case") 2> "results/$case.err" | {
        # What does not end in a line is output too.
        if IFS= read -r line || [ -n "$line" ]; then
            echo $((${EPOCHREALTIME/[.,]/} - begun)) > "results/$case.first"
            printf '%s\n' "$line"
        fi
        head -c 65536
        cat > /dev/null
    } > "results/$case.out"
    echo "${PIPESTATUS[0]}" > "results/$case.exit"
    set -e
done
echo done > stage
