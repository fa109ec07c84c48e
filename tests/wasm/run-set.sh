#!/bin/sh
# Runs the guests of this folder as containers of one crun with one libwasmtime.so.
#   run-set.sh CRUN LIBDIR GUESTS [CASE…]
# CRUN: the binary; LIBDIR: the folder of libwasmtime.so; GUESTS: what build.sh made. Where $ROOT is a folder, crun runs
# in it, with the libraries that it has.
# Prints `pass CASE` or `FAIL CASE: why` for each, and ends with 1 if one failed. Needs root.
set -eu

# crun refuses hybrid cgroups whose unified side has a controller, so that side goes away, in a
# mount namespace of our own.
if [ -z "${WASM_SET_INSIDE:-}" ]; then
    WASM_SET_INSIDE=1 exec unshare --mount sh "$0" "$@"
fi
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

crun=$(realpath "$1")
libdir=$(realpath "$2")
guests=$(realpath "$3")
shift 3
only=" $* "

work=$(mktemp -d)
inside=
clean() {
    if [ -n "$inside" ]; then umount --lazy "$ROOT"; fi
    rm -rf "$work"
}
trap clean EXIT
failed=0
if [ -n "${ROOT:-}" ]; then
    # `pivot_root` wants the root to be a mount.
    mount --bind "$ROOT" "$ROOT"
    inside="chroot $ROOT"
    for folder in proc sys dev; do mount --rbind /$folder "$ROOT/$folder"; done
    mkdir -p "$ROOT$work"
    mount --bind "$work" "$ROOT$work"
    cp "$crun" "$work/crun"
    crun=$work/crun
fi

# json_list WORD… : ["WORD", …]
json_list() {
    list=
    for word; do list="$list${list:+, }\"$word\""; done
    echo "[$list]"
}

# run NAME VARIANT PROGRAM [ARG…]: the container; leaves its bundle, with stdout and stderr, in
# $bundle, and $status. $annotations is JSON that goes beside the variant.
annotations=
run() {
    name=$1 variant=$2 program=$3
    shift 3
    bundle=$work/$name
    mkdir -p "$bundle/rootfs/data"
    cp "$guests/$program" "$bundle/rootfs/$program"
    chmod 755 "$bundle/rootfs/$program"
    ahead=${program%.wasm}.cwasm
    if [ -f "$guests/$ahead" ]; then cp "$guests/$ahead" "$bundle/rootfs/$ahead"; fi
    echo 'a line' > "$bundle/rootfs/data/in.txt"
    echo 'not for guests' > "$bundle/rootfs/outside.txt"
    cat > "$bundle/config.json" <<J
{
  "ociVersion": "1.0.0",
  "process": {
    "user": {"uid": 0, "gid": 0},
    "cwd": "/data",
    "args": $(json_list "/$program" "$@"),
    "env": ["PATH=/bin", "GREETING=good day"],
    "capabilities": {"bounding": [], "effective": [], "inheritable": [], "permitted": []},
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs"},
  "annotations": {"module.wasm.image/variant": "$variant"$annotations},
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
  ],
  "linux": {
    "cgroupsPath": "/wasm-set-$$-$name",
    "resources": {"memory": {"limit": 67108864}, "pids": {"limit": 32}},
    "namespaces": [
      {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}
    ]
  }
}
J
    status=0
    printf 'one\ntwo\n' | LD_LIBRARY_PATH=$libdir timeout 60 $inside "$crun" --root "$work/state" \
        --cgroup-manager=cgroupfs run --bundle "$bundle" "wasm-set-$$-$name" \
        > "$bundle/stdout" 2> "$bundle/stderr" || status=$?
}

# expect STATUS STDOUT [STDERR]: judges the last run; STDERR is a part that must be there.
expect() {
    why=
    [ "$status" = "$1" ] || why="status $status, not $1"
    [ "$(cat "$bundle/stdout")" = "$2" ] || why="$why${why:+; }stdout: $(head -c 200 "$bundle/stdout")"
    [ -z "${3:-}" ] || grep -qF -- "$3" "$bundle/stderr" || why="$why${why:+; }stderr lacks \`$3\`"
    [ -z "$why" ] || why="$why; stderr: $(head -c 400 "$bundle/stderr")"
    report "$why"
}

report() {
    if [ -z "$1" ]; then
        echo "pass $name"
    else
        echo "FAIL $name: $1" | tr '\n' ' ' && echo
        failed=1
    fi
}

wanted() { [ "$only" = "  " ] || case $only in *" $1 "*) ;; *) false ;; esac; }

talk='arg 0: /talk.wasm
arg 1: first
arg 2: two words
env GREETING: good day
stdin: one
stdin: two'
if wanted talk; then run talk compat-smart talk.wasm first 'two words'; expect 0 "$talk" 'to stderr'; fi
if wanted compat; then run compat compat talk.wasm first 'two words'; expect 0 "$talk"; fi
if wanted files; then
    run files compat-smart files.wasm
    expect 0 'wrote out.txt'
    name=files-on-host
    report "$([ "$(cat "$bundle/rootfs/data/out.txt" 2>&1)" = "$(printf 'a line\na line')" ] \
        || echo "out.txt is not what the guest wrote")"
fi
if wanted memory; then run memory compat-smart memory.wasm; expect 137 ''; fi
if wanted exit-0; then run exit-0 compat-smart exit.wasm 0; expect 0 'before exit'; fi
if wanted exit-3; then run exit-3 compat-smart exit.wasm 3; expect 3 'before exit'; fi
if wanted return-0; then run return-0 compat-smart return.wasm 0; expect 0 ''; fi
if wanted return-3; then run return-3 compat-smart return.wasm 3; expect 3 ''; fi
if wanted trap; then run trap compat-smart trap.wasm; expect 134 'before trap' 'unreachable'; fi
if wanted text; then run text compat-smart text.wat; expect 0 'from text'; fi
if wanted nowasm; then run nowasm compat-smart nowasm.wasm; expect 1 '' 'failed to compile module'; fi
if wanted empty; then run empty compat-smart empty.wasm; expect 1 ''; fi
if wanted ahead-unasked; then run ahead-unasked compat-smart ahead.wasm; expect 134 'before trap'; fi
annotations=', "run.oci.wasmtime.precompiled": "1"'
if wanted ahead; then
    run ahead compat-smart ahead.wasm first 'two words'
    expect 0 "$(echo "$talk" | sed s/talk.wasm/ahead.wasm/)"
fi
if wanted ahead-stale; then
    run ahead-stale compat-smart stale.wasm 3
    expect 3 '' 'not using `/stale.cwasm`'
fi
annotations=
if wanted native; then run native compat-smart native; expect 4 'from native'; fi
exit "$failed"
