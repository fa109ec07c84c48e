package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// self is where a container finds this program.
const self = "/.shim"

// runtime is runc, but for a container whose program is a module: that gets the guest's host as its program.
func runtime() {
	for at, word := range os.Args {
		if word == "create" {
			for ; at+1 < len(os.Args); at++ {
				if os.Args[at] == "--bundle" {
					check(prepare(os.Args[at+1]))
				}
			}
		}
	}
	runc, err := exec.LookPath("runc")
	check(err)
	check(unix.Exec(runc, append([]string{runc}, os.Args[1:]...), os.Environ()))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(bundle string) (*specs.Spec, error) {
	text, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	return &spec, json.Unmarshal(text, &spec)
}

// pauses tells whether a container is a pod's sandbox.
func pauses(spec *specs.Spec) bool {
	return spec.Annotations["io.kubernetes.cri.container-type"] == "sandbox"
}

func prepare(bundle string) error {
	spec, err := read(bundle)
	if err != nil || pauses(spec) {
		return err
	}
	root := spec.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(bundle, root)
	}
	kind, err := guestKind(root, spec.Process.Args)
	if err != nil || kind == "" {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	bind := func(from, to string) {
		mount := specs.Mount{Source: from, Destination: to, Type: "bind", Options: []string{"rbind", "ro"}}
		spec.Mounts = append(spec.Mounts, mount)
	}
	bind(program, self)
	for _, folder := range []string{"/usr", "/lib", "/lib64"} {
		bind(folder, folder)
	}
	spec.Process.Args = append([]string{self, "guest", kind}, spec.Process.Args...)
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600)
}

// guestKind tells how a container is run; as runc does where it says nothing.
func guestKind(root string, args []string) (string, error) {
	inside := func(name string) string { return filepath.Join(root, filepath.Join("/", name)) }
	switch stands() {
	case "containerd-shim-spin-v1", "containerd-shim-spin-v2":
		return "spin", there(inside("spin.toml"))
	case "containerd-shim-slight-v1":
		return "slight", there(inside("slightfile.toml"))
	}
	if len(args) == 0 {
		return "", nil
	}
	file, err := os.Open(inside(args[0]))
	if err != nil {
		return "", nil
	}
	defer file.Close()
	magic := make([]byte, 4)
	if _, err := file.Read(magic); err == nil && string(magic) == "\x00asm" {
		return "wasi", nil
	}
	return "", nil
}

func there(path string) error {
	_, err := os.Stat(path)
	return err
}
