# Starts a node's containerd by itself and runs containers with it.
#
#   sh alone.sh ROOT WORK
#
# ROOT is the node image's root, which stays as it is. WORK holds `images/*.tar` and `cases/N`, the words of a `ctr run`
# each ended by a NUL, `cases/N.stdin` and, where it serves, `cases/N.http`: its id, what it is asked, the signal that stops
# it; $CURL asks. It gets `stage`, how far all came, and for each case `results/N.out`, `.err`, `.exit` and `.first`,
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
    # `ctr run --net-host` gives a container these two of the node.
    for file in etc/hosts etc/resolv.conf; do
        [ -e "$file" ] || : > "$file"
    done
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

# Gives the microseconds since a moment.
since() { echo $((${EPOCHREALTIME/[.,]/} - $1)); }

ask() { eval "$CURL" '-- "$1"'; }

# Runs a container that serves, asks it and stops it. Leaves `.answer` as curl prints it, `.refused`, why curl had none,
# `.stop`, what was said to the signal, and `.stopped`, the microseconds until the end, if that came in time.
serve() {
    local id url signal begun started asked
    { read -r id; read -r url; read -r signal; } < "cases/$1.http"
    begun=${EPOCHREALTIME/[.,]/}
    ctr run "${words[@]}" < /dev/null 2> "results/$1.err" > >(head -c 65536 > "results/$1.out"; cat > /dev/null) &
    started=$!
    : > "results/$1.stop"
    until ask "$url" > "results/$1.answer" 2> "results/$1.refused"; do
        kill -0 "$started" 2> /dev/null && [ "$(since "$begun")" -lt 60000000 ] || break
        sleep 0.02
    done
    [ -s "results/$1.refused" ] || since "$begun" > "results/$1.first"
    if kill -0 "$started" 2> /dev/null; then
        asked=${EPOCHREALTIME/[.,]/}
        ctr tasks kill --signal "$signal" "$id" > "results/$1.stop" 2>&1
        while kill -0 "$started" 2> /dev/null && [ "$(since "$asked")" -lt 10000000 ]; do sleep 0.02; done
        if kill -0 "$started" 2> /dev/null; then
            ctr tasks kill --signal SIGKILL "$id" > /dev/null 2>&1
            (sleep 10; kill -KILL "$started") > /dev/null 2>&1 &
        else
            since "$asked" > "results/$1.stopped"
        fi
    fi
    wait "$started"
    echo $? > "results/$1.exit"
}

for ((case = 0; ; case++)); do
    [ -e "cases/$case" ] || break
    mapfile -d '' words < "cases/$case"
    if [ -e "cases/$case.http" ]; then
        set +e
        serve "$case"
        set -e
        continue
    fi
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
