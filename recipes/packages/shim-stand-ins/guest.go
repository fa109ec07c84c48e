package main

// #include <stdlib.h>
// #include "guest.h"
import "C"

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guest runs as the container's program.
func guest(kind string, args []string) {
	switch kind {
	case "wasi":
		status := load(args[0]).run(args, os.Environ(), 1)
		os.Exit(status)
	case "spin":
		manifest, err := os.ReadFile("/spin.toml")
		check(err)
		source := regexp.MustCompile(`(?m)^source *= *"([^"]+)"`).FindSubmatch(manifest)
		wagi := regexp.MustCompile(`(?m)^executor *= *\{ *type *= *"wagi" *\}`).Match(manifest)
		if source == nil || !wagi {
			check(fmt.Errorf("spin.toml: the stand-in wants a component with a source and the executor wagi"))
		}
		serve("0.0.0.0:80", &wagiHandler{module: load("/" + string(source[1]))})
	case "slight":
		module := load("/app.wasm")
		var address *C.char
		if why := C.slight_begin(module.module, &address); why != nil {
			check(fmt.Errorf("on-server-init: %s", C.GoString(why)))
		}
		serve(C.GoString(address), &slightHandler{module: module})
	}
}

// serve answers until a signal comes.
func serve(address string, handler http.Handler) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() { check(http.ListenAndServe(address, handler)) }()
	<-signals
	os.Exit(0)
}

type module struct{ module *C.struct_guest }

func load(path string) module {
	bytes, err := os.ReadFile(path)
	check(err)
	var why *C.char
	loaded := C.guest_load((*C.uint8_t)(unsafe.Pointer(&bytes[0])), C.size_t(len(bytes)), &why)
	if loaded == nil {
		check(fmt.Errorf("%s: %s", path, C.GoString(why)))
	}
	return module{loaded}
}

// run runs a command to its end, with its output where a descriptor leads.
func (m module) run(args, env []string, output int) int {
	names, values := make([]string, len(env)), make([]string, len(env))
	for at, pair := range env {
		if before, after, found := bytes.Cut([]byte(pair), []byte("=")); found {
			names[at], values[at] = string(before), string(after)
		}
	}
	list := func(texts []string) (**C.char, func()) {
		pointers := (**C.char)(C.calloc(C.size_t(len(texts)+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
		all := unsafe.Slice(pointers, len(texts)+1)
		for at, text := range texts {
			all[at] = C.CString(text)
		}
		return pointers, func() {
			for _, text := range all {
				C.free(unsafe.Pointer(text))
			}
			C.free(unsafe.Pointer(pointers))
		}
	}
	words, freeWords := list(args)
	defer freeWords()
	keys, freeKeys := list(names)
	defer freeKeys()
	texts, freeTexts := list(values)
	defer freeTexts()
	path := C.CString(fmt.Sprintf("/proc/self/fd/%d", output))
	defer C.free(unsafe.Pointer(path))
	return int(C.guest_run(m.module, C.size_t(len(args)), words, C.size_t(len(env)), keys, texts, path))
}

// wagiHandler runs a module for each request, as CGI has it.
type wagiHandler struct{ module module }

func (h *wagiHandler) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	output, err := unix.MemfdCreate("answer", 0)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	file := os.NewFile(uintptr(output), "answer")
	defer file.Close()
	env := []string{
		"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=" + request.Method, "PATH_INFO=" + request.URL.Path,
		"QUERY_STRING=" + request.URL.RawQuery, "SERVER_PROTOCOL=HTTP/1.1",
	}
	status := h.module.run([]string{request.URL.Path}, env, output)
	if _, err := file.Seek(0, io.SeekStart); err != nil || status != 0 {
		http.Error(answer, fmt.Sprintf("the component ended with %d", status), http.StatusInternalServerError)
		return
	}
	reader := textproto.NewReader(bufio.NewReader(file))
	headers, err := reader.ReadMIMEHeader()
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	code := http.StatusOK
	for name, values := range headers {
		if name == "Status" && len(values[0]) >= 3 {
			code, _ = strconv.Atoi(values[0][:3])
			continue
		}
		for _, value := range values {
			answer.Header().Add(name, value)
		}
	}
	answer.WriteHeader(code)
	_, _ = io.Copy(answer, reader.R)
}

// slightHandler calls an export of a new instance for each request. One at a time: C keeps the answer.
type slightHandler struct {
	module module
	one    sync.Mutex
}

func (h *slightHandler) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	h.one.Lock()
	defer h.one.Unlock()
	path := C.CString(request.URL.Path)
	defer C.free(unsafe.Pointer(path))
	if request.Method != http.MethodGet || C.slight_knows(path) == 0 {
		http.NotFound(answer, request)
		return
	}
	var body *C.uint8_t
	var length C.size_t
	status := C.slight_handle(h.module.module, path, &body, &length)
	if status == 0 {
		http.Error(answer, "the handler failed", http.StatusInternalServerError)
		return
	}
	defer C.free(unsafe.Pointer(body))
	answer.WriteHeader(int(status))
	_, _ = answer.Write(C.GoBytes(unsafe.Pointer(body), C.int(length)))
}
